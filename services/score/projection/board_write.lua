-- Writes one batch to one key of a board. Idempotent. Order matters only for lowered players, where the fence decides.
--
-- KEYS  board (member -> value), fence (member -> revision), meta {generation, version, shown}, previous (member -> rank),
--       with argument 9: shown (member -> revision and metadata)
-- ARGV  1 start of the batch, ms of this server's time   2 life of the fence in ms
--       3 expiry of the keys, s since 1970, 0 for never   4 generation of the writer, 0 if unknown
--       5 size of the head, for which previous ranks are kept   6 maximum number of previous ranks
--       7 JSON: [[value, member, …] raised, [revision, …] of the raised, [revision, value, member, …] lowered]
--       8 JSON: {member: rank before this write} if the board has several keys; else empty
--       9 JSON: {member: metadata of its standing, which may be empty} of members that may have any; else empty
-- Returns the number of changed members, or -1 if the batch started too long ago: fences may have expired since.
local board, fence, meta, previous, shown = KEYS[1], KEYS[2], KEYS[3], KEYS[4], KEYS[5]
local expires_at, head_size = tonumber(ARGV[3]), tonumber(ARGV[5])
-- One argument instead of three per member: parsing commands is most of what a write costs a client.
local batch = cjson.decode(ARGV[7])
local raised, revisions, lowered = batch[1], batch[2], batch[3]

local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
if now - tonumber(ARGV[1]) > tonumber(ARGV[2]) / 2 then
  return -1
end

-- A fenced member is written only by a standing of at least the fence's revision, and then absolutely.
local plain, absolute, gone, fences = raised, {}, {}, {}
if #raised > 0 and redis.call('EXISTS', fence) == 1 then
  local members = {}
  for i = 2, #raised, 2 do members[i / 2] = raised[i] end
  local fenced_at = redis.call('HMGET', fence, unpack(members))
  plain = {}
  for i, member in ipairs(members) do
    if not fenced_at[i] then
      plain[#plain + 1] = raised[2 * i - 1]
      plain[#plain + 1] = member
    elseif revisions[i] >= tonumber(fenced_at[i]) then
      absolute[#absolute + 1] = raised[2 * i - 1]
      absolute[#absolute + 1] = member
      fences[#fences + 1] = member
      fences[#fences + 1] = revisions[i]
    end
  end
end
for i = 1, #lowered, 3 do
  local revision, value, member = lowered[i], lowered[i + 1], lowered[i + 2]
  local fenced_at = redis.call('HGET', fence, member)
  if not fenced_at or revision >= tonumber(fenced_at) then
    fences[#fences + 1] = member
    fences[#fences + 1] = revision
    if value > 0 then
      absolute[#absolute + 1] = value
      absolute[#absolute + 1] = member
    else
      gone[#gone + 1] = member
    end
  end
end

-- Previous ranks of members that are in the head after the write. The head's last value is read once, so that every other
-- member costs one comparison.
local last = redis.call('ZREVRANGE', board, head_size - 1, head_size - 1, 'WITHSCORES')
local threshold = last[2] and tonumber(last[2]) or 0
local before = {}
local ranks = ARGV[8] ~= '' and cjson.decode(ARGV[8])
local function note_rank(new, member, only_raise)
  if new >= threshold then
    local score = redis.call('ZSCORE', board, member)
    local old = score and tonumber(score)
    if not old or old < new or (old > new and not only_raise) then
      before[#before + 1] = member
      local rank = false
      -- A member missing from the given ranks was moved by another batch since they were counted.
      if old and ranks then rank = ranks[member] or false end
      if old and not ranks then rank = redis.call('ZREVRANK', board, member) + 1 end
      before[#before + 1] = rank
    end
  end
end
for i = 1, #plain, 2 do note_rank(plain[i], plain[i + 1], true) end
for i = 1, #absolute, 2 do note_rank(absolute[i], absolute[i + 1], false) end

-- Metadata follows the standing: it is written with a value that is, and of equal values that of the later revision stays.
local metadata, metadata_changed = ARGV[9] ~= '' and cjson.decode(ARGV[9]), false
local function write_metadata(value, member, revision, only_raise)
  local text = metadata[member]
  if not text then return end
  local held = redis.call('HGET', shown, member)
  local space = held and held:find(' ', 1, true)
  local score = only_raise and redis.call('ZSCORE', board, member)
  if score and tonumber(score) > value then return end
  if score and tonumber(score) == value and held and tonumber(held:sub(1, space)) > revision then return end
  if not held and text == '' then return end
  redis.call('HSET', shown, member, string.format('%d %s', revision, text))
  metadata_changed = metadata_changed or not held or held:sub(space + 1) ~= text
end
if metadata then
  local revision_of = {}
  for i = 2, #raised, 2 do revision_of[raised[i]] = revisions[i / 2] end
  for i = 1, #lowered, 3 do revision_of[lowered[i + 2]] = lowered[i] end
  for i = 1, #plain, 2 do write_metadata(plain[i], plain[i + 1], revision_of[plain[i + 1]], true) end
  for i = 1, #absolute, 2 do write_metadata(absolute[i], absolute[i + 1], revision_of[absolute[i + 1]], false) end
  if metadata_changed then redis.call('HSET', meta, 'shown', 1) end
  if #gone > 0 then redis.call('HDEL', shown, unpack(gone)) end
end

local changed = 0
if #plain > 0 then changed = redis.call('ZADD', board, 'GT', 'CH', unpack(plain)) end
if #absolute > 0 then changed = changed + redis.call('ZADD', board, 'CH', unpack(absolute)) end
if #gone > 0 then
  changed = changed + redis.call('ZREM', board, unpack(gone))
  redis.call('HDEL', previous, unpack(gone))
end
if #fences > 0 then
  redis.call('HSET', fence, unpack(fences))
  redis.call('PEXPIRE', fence, ARGV[2])
end

for i = 1, #before, 2 do
  if before[i + 1] then
    redis.call('HSET', previous, before[i], before[i + 1])
  else
    redis.call('HDEL', previous, before[i])
  end
end
if #before > 0 and redis.call('HLEN', previous) > tonumber(ARGV[6]) then
  local head = redis.call('ZREVRANGE', board, 0, head_size - 1)
  local kept = redis.call('HMGET', previous, unpack(head))
  redis.call('DEL', previous)
  for i, rank in ipairs(kept) do
    if rank then redis.call('HSET', previous, head[i], rank) end
  end
end

if tonumber(redis.call('HGET', meta, 'generation') or '0') < tonumber(ARGV[4]) then
  redis.call('HSET', meta, 'generation', ARGV[4])
end
if changed > 0 or metadata_changed then
  redis.call('HINCRBY', meta, 'version', 1)
  if expires_at > 0 then
    if metadata then redis.call('EXPIREAT', shown, expires_at) end
    if redis.call('TTL', board) == -1 then
      redis.call('EXPIREAT', board, expires_at)
    end
    redis.call('EXPIREAT', meta, expires_at)
    redis.call('EXPIREAT', previous, expires_at)
  end
end
return changed
