-- Writes one batch to one board. Idempotent, and free of order but for who was lowered: there the fence decides.
--
-- KEYS  board (member -> value), fence (member -> order), meta {generation, version}, previous (member -> rank)
-- ARGV  1 time at which the batch began, in ms of this server   2 life of the fence in ms
--       3 when the keys expire, in s since 1970, 0 for never    4 generation of the writer, 0 if unknown
--       5 n raised   6 m lowered   7 rank down to which previous ranks are kept   8 most of them
--       then n times: value member; n times: order; m times: order value member (value 0: leaves the board)
-- Returns how many members changed, or -1 if the batch is too old to be judged by the fence: read the ledger again.
local board, fence, meta, previous = KEYS[1], KEYS[2], KEYS[3], KEYS[4]
local expires_at, n, m = tonumber(ARGV[3]), tonumber(ARGV[5]), tonumber(ARGV[6])
local first = 9
local orders = first + 2 * n
local lowered = orders + n

local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
if now - tonumber(ARGV[1]) > tonumber(ARGV[2]) / 2 then
  return -1
end

-- Who is fenced may only be written by a standing as late as the fence.
local plain, absolute, gone, fences = {}, {}, {}, {}
local fenced = redis.call('EXISTS', fence) == 1
if fenced and n > 0 then
  local members = {}
  for i = 1, n do members[i] = ARGV[first + 2 * i - 1] end
  local helds = redis.call('HMGET', fence, unpack(members))
  for i = 0, n - 1 do
    local value, member, order, held = ARGV[first + 2 * i], members[i + 1], ARGV[orders + i], helds[i + 1]
    if not held then
      plain[#plain + 1] = value
      plain[#plain + 1] = member
    elseif tonumber(order) >= tonumber(held) then
      absolute[#absolute + 1] = value
      absolute[#absolute + 1] = member
      fences[#fences + 1] = member
      fences[#fences + 1] = order
    end
  end
end
for i = lowered, lowered + 3 * (m - 1), 3 do
  local order, value, member = ARGV[i], ARGV[i + 1], ARGV[i + 2]
  local held = redis.call('HGET', fence, member)
  if not held or tonumber(order) >= tonumber(held) then
    fences[#fences + 1] = member
    fences[#fences + 1] = order
    if tonumber(value) > 0 then
      absolute[#absolute + 1] = value
      absolute[#absolute + 1] = member
    else
      gone[#gone + 1] = member
    end
  end
end

-- The rank before this write, for those who are in the head after it. The place is read once, so that all others cost
-- one comparison.
local place = tonumber(ARGV[7])
local last = redis.call('ZREVRANGE', board, place - 1, place - 1, 'WITHSCORES')
local threshold = last[2] and tonumber(last[2]) or 0
local before = {}
local function remember(value, member, only_raise)
  local new = tonumber(value)
  if new >= threshold then
    local old = redis.call('ZSCORE', board, member)
    local was = old and tonumber(old)
    if not was or was < new or (was > new and not only_raise) then
      before[#before + 1] = member
      before[#before + 1] = was and redis.call('ZREVRANK', board, member) + 1 or false
    end
  end
end
if fenced then
  for i = 1, #plain, 2 do remember(plain[i], plain[i + 1], true) end
else
  for i = first, orders - 1, 2 do remember(ARGV[i], ARGV[i + 1], true) end
end
for i = 1, #absolute, 2 do remember(absolute[i], absolute[i + 1], false) end

local changed = 0
if fenced then
  if #plain > 0 then changed = redis.call('ZADD', board, 'GT', 'CH', unpack(plain)) end
elseif n > 0 then
  changed = redis.call('ZADD', board, 'GT', 'CH', unpack(ARGV, first, orders - 1))
end
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
if #before > 0 and redis.call('HLEN', previous) > tonumber(ARGV[8]) then
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
