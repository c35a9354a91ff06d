"""What is read of a board, as Lua: one script a question, so that an answer is of one moment.

Sent whole each time: that is shorter than the care for a script that Redis has lost. Each is given the keys of the board,
its meta and its previous ranks, and answers with the board's generation and version first.
"""

from __future__ import annotations

from typing import Final

# KEYS board, meta, previous   ARGV how many places
HEAD: Final = """
local meta = redis.call('HMGET', KEYS[2], 'generation', 'version')
local found = redis.call('ZREVRANGE', KEYS[1], 0, ARGV[1] - 1, 'WITHSCORES')
local ids, previous = {}, {}
for i = 1, #found, 2 do ids[#ids + 1] = found[i] end
if #ids > 0 then previous = redis.call('HMGET', KEYS[3], unpack(ids)) end
return {meta[1], meta[2], found, previous}
"""
# KEYS board, meta, previous   ARGV user ids
PLACES: Final = """
local meta = redis.call('HMGET', KEYS[2], 'generation', 'version')
local ranks, values = {}, {}
for i, id in ipairs(ARGV) do
  ranks[i] = redis.call('ZREVRANK', KEYS[1], id)
  values[i] = redis.call('ZSCORE', KEYS[1], id)
end
return {meta[1], meta[2], ranks, values, redis.call('HMGET', KEYS[3], unpack(ARGV))}
"""


# KEYS board, meta, previous   ARGV how many, whose own place, value and id to begin behind (or two empty texts)
PAGE: Final = """
local meta = redis.call('HMGET', KEYS[2], 'generation', 'version')
-- By bytes, as Redis orders; Lua's own < goes by the language of the server.
local function less(one, other)
  for i = 1, math.min(#one, #other) do
    local a, b = one:byte(i), other:byte(i)
    if a ~= b then return a < b end
  end
  return #one < #other
end
local start = 0
if ARGV[4] ~= '' then
  -- Behind everybody with a greater value, and those of the same with a greater id.
  start = redis.call('ZCOUNT', KEYS[1], '(' .. ARGV[3], '+inf')
  local stop = start + redis.call('ZCOUNT', KEYS[1], ARGV[3], ARGV[3])
  while start < stop do
    local middle = math.floor((start + stop) / 2)
    local there = redis.call('ZREVRANGE', KEYS[1], middle, middle)[1]
    if less(there, ARGV[4]) then stop = middle else start = middle + 1 end
  end
end
local found = redis.call('ZREVRANGE', KEYS[1], start, start + ARGV[1] - 1, 'WITHSCORES')
local ids, previous = {}, {}
for i = 1, #found, 2 do ids[#ids + 1] = found[i] end
if #ids > 0 then previous = redis.call('HMGET', KEYS[3], unpack(ids)) end
local own = {redis.call('ZREVRANK', KEYS[1], ARGV[2]), redis.call('ZSCORE', KEYS[1], ARGV[2]),
  redis.call('HGET', KEYS[3], ARGV[2])}
return {meta[1], meta[2], redis.call('ZCARD', KEYS[1]), start, found, previous, own}
"""
# KEYS board, meta, previous   ARGV whose places, how many to each side
AROUND: Final = """
local meta = redis.call('HMGET', KEYS[2], 'generation', 'version')
local total, rank = redis.call('ZCARD', KEYS[1]), redis.call('ZREVRANK', KEYS[1], ARGV[1])
if not rank then return {meta[1], meta[2], total, 0, {}, {}, {}} end
local width = 2 * ARGV[2] + 1
local start = math.max(0, math.min(rank - ARGV[2], total - width))
local found = redis.call('ZREVRANGE', KEYS[1], start, start + width - 1, 'WITHSCORES')
local ids = {}
for i = 1, #found, 2 do ids[#ids + 1] = found[i] end
return {meta[1], meta[2], total, start, found, redis.call('HMGET', KEYS[3], unpack(ids)), {}}
"""
# KEYS board, meta, previous   ARGV a value, and who does not count
AHEAD: Final = """
local meta = redis.call('HMGET', KEYS[2], 'generation', 'version')
local ahead = redis.call('ZCOUNT', KEYS[1], ARGV[1], '+inf')
local own = redis.call('ZSCORE', KEYS[1], ARGV[2])
if own and tonumber(own) >= tonumber(ARGV[1]) then ahead = ahead - 1 end
return {meta[1], meta[2], ahead, redis.call('ZCARD', KEYS[1])}
"""
# KEYS board, meta, previous   ARGV a percentile
QUANTILE: Final = """
local meta = redis.call('HMGET', KEYS[2], 'generation', 'version')
local total = redis.call('ZCARD', KEYS[1])
-- The share is of a whole number, so what is a hair above one is that one.
local index = total - math.ceil(total * ARGV[1] / 100 - 1e-9)
local found = redis.call('ZREVRANGE', KEYS[1], index, index, 'WITHSCORES')
return {meta[1], meta[2], total, found[2] or false}
"""
