-- Writes one batch to one board. Idempotent, and free of order but for who was lowered: there the fence decides.
--
-- KEYS  board (member -> value), fence (member -> order), meta {generation, version}, previous (member -> rank)
-- ARGV  1 time at which the batch began, in ms of this server   2 life of the fence in ms
--       3 when the keys expire, in s since 1970, 0 for never    4 generation of the writer, 0 if unknown
--       5 rank down to which previous ranks are kept   6 most of them
--       7 JSON: [[value, member, …] of the raised, [order, …] of the raised, [order, value, member, …] of the lowered]
--       8 JSON: {member: rank} before this write of those who were on the board, if that is more than this key; else empty
-- Returns how many members changed, or -1 if the batch is too old to be judged by the fence: read the ledger again.
local board, fence, meta, previous = KEYS[1], KEYS[2], KEYS[3], KEYS[4]
local expires_at, place = tonumber(ARGV[3]), tonumber(ARGV[5])
-- One argument and not three a member: taking commands apart is most of what a write costs a client.
local batch = cjson.decode(ARGV[7])
local raised, orders, lowered = batch[1], batch[2], batch[3]

local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
if now - tonumber(ARGV[1]) > tonumber(ARGV[2]) / 2 then
  return -1
end

-- Who is fenced may only be written by a standing as late as the fence.
local plain, absolute, gone, fences = raised, {}, {}, {}
if #raised > 0 and redis.call('EXISTS', fence) == 1 then
  local members = {}
  for i = 2, #raised, 2 do members[i / 2] = raised[i] end
  local helds = redis.call('HMGET', fence, unpack(members))
  plain = {}
  for i, member in ipairs(members) do
    local held = helds[i]
    if not held then
      plain[#plain + 1] = raised[2 * i - 1]
      plain[#plain + 1] = member
    elseif orders[i] >= tonumber(held) then
      absolute[#absolute + 1] = raised[2 * i - 1]
      absolute[#absolute + 1] = member
      fences[#fences + 1] = member
      fences[#fences + 1] = orders[i]
    end
  end
end
for i = 1, #lowered, 3 do
  local order, value, member = lowered[i], lowered[i + 1], lowered[i + 2]
  local held = redis.call('HGET', fence, member)
  if not held or order >= tonumber(held) then
    fences[#fences + 1] = member
    fences[#fences + 1] = order
    if value > 0 then
      absolute[#absolute + 1] = value
      absolute[#absolute + 1] = member
    else
      gone[#gone + 1] = member
    end
  end
end

-- The rank before this write, for those who are in the head after it. The place is read once, so that all others cost
-- one comparison.
local last = redis.call('ZREVRANGE', board, place - 1, place - 1, 'WITHSCORES')
local threshold = last[2] and tonumber(last[2]) or 0
local before = {}
local ranks = ARGV[8] ~= '' and cjson.decode(ARGV[8])
local function remember(new, member, only_raise)
  if new >= threshold then
    local old = redis.call('ZSCORE', board, member)
    local was = old and tonumber(old)
    if not was or was < new or (was > new and not only_raise) then
      before[#before + 1] = member
      local rank = false
      -- Who is missing in the given ranks was moved by another batch since they were counted.
      if was and ranks then rank = ranks[member] or false end
      if was and not ranks then rank = redis.call('ZREVRANK', board, member) + 1 end
      before[#before + 1] = rank
    end
  end
end
for i = 1, #plain, 2 do remember(plain[i], plain[i + 1], true) end
for i = 1, #absolute, 2 do remember(absolute[i], absolute[i + 1], false) end

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
  local head = redis.call('ZREVRANGE', board, 0, place - 1)
  local ranks = redis.call('HMGET', previous, unpack(head))
  redis.call('DEL', previous)
  for i, rank in ipairs(ranks) do
    if rank then redis.call('HSET', previous, head[i], rank) end
  end
end

if tonumber(redis.call('HGET', meta, 'generation') or '0') < tonumber(ARGV[4]) then
  redis.call('HSET', meta, 'generation', ARGV[4])
end
if changed > 0 then
  redis.call('HINCRBY', meta, 'version', 1)
  if expires_at > 0 then
    if redis.call('TTL', board) == -1 then
      redis.call('EXPIREAT', board, expires_at)
    end
    redis.call('EXPIREAT', meta, expires_at)
    redis.call('EXPIREAT', previous, expires_at)
  end
end
return changed
