"""What is read of one key of a board, as Lua: one script a question, so that an answer is of one moment.

Each is given the key, its meta and its previous ranks, and where there is only one server those of the generation and of how
boards are split. Its answer begins with these two, and with the generation and version of the key.
"""

from __future__ import annotations

from typing import Final

from services.runtime.split import COUNT_BEFORE

_STATE: Final = """
local all = KEYS[4] and redis.call('MGET', KEYS[4], KEYS[5]) or {false, false}
local meta = redis.call('HMGET', KEYS[2], 'generation', 'version')
"""
# Of members and values in turn: in turn, which of them (from 0) has a previous rank, and that.
_PREVIOUS: Final = """
local function previous(found)
  local ids = {}
  for i = 1, #found, 2 do ids[#ids + 1] = found[i] end
  local known = {}
  for i, rank in ipairs(#ids > 0 and redis.call('HMGET', KEYS[3], unpack(ids)) or {}) do
    if rank then
      known[#known + 1] = i - 1
      known[#known + 1] = rank
    end
  end
  return known
end
"""
# ARGV how many places
HEAD: Final = f"""{_STATE}{_PREVIOUS}
local found = redis.call('ZREVRANGE', KEYS[1], 0, ARGV[1] - 1, 'WITHSCORES')
return {{all[1], all[2], meta[1], meta[2], found, previous(found)}}
"""
# ARGV user ids
PLACES: Final = f"""{_STATE}
local ranks, values = {{}}, {{}}
for i, id in ipairs(ARGV) do
  ranks[i] = redis.call('ZREVRANK', KEYS[1], id)
  values[i] = redis.call('ZSCORE', KEYS[1], id)
end
return {{all[1], all[2], meta[1], meta[2], ranks, values, redis.call('HMGET', KEYS[3], unpack(ARGV))}}
"""
# ARGV how many, and the value and id to begin behind (or two empty texts)
PAGE: Final = f"""{_STATE}{_PREVIOUS}{COUNT_BEFORE}
local start = ARGV[2] == '' and 0 or before(ARGV[2], ARGV[3], true)
local found = redis.call('ZREVRANGE', KEYS[1], start, start + ARGV[1] - 1, 'WITHSCORES')
return {{all[1], all[2], meta[1], meta[2], redis.call('ZCARD', KEYS[1]), start, found, previous(found)}}
"""
# ARGV whose place, how many to each side, and his value where he is on another key, or an empty text
AROUND: Final = f"""{_STATE}{_PREVIOUS}{COUNT_BEFORE}
local total = redis.call('ZCARD', KEYS[1])
local rank = ARGV[3] == '' and redis.call('ZREVRANK', KEYS[1], ARGV[1]) or ARGV[3] ~= '' and before(ARGV[3], ARGV[1])
if not rank then return {{all[1], all[2], meta[1], meta[2], total, 0, {{}}, {{}}}} end
local width = 2 * ARGV[2] + 1
local start = math.max(0, math.min(rank - ARGV[2], total - width))
local found = redis.call('ZREVRANGE', KEYS[1], start, start + width - 1, 'WITHSCORES')
return {{all[1], all[2], meta[1], meta[2], total, start, found, previous(found)}}
"""
# ARGV a value, and who does not count
AHEAD: Final = f"""{_STATE}
local ahead = redis.call('ZCOUNT', KEYS[1], ARGV[1], '+inf')
local own = redis.call('ZSCORE', KEYS[1], ARGV[2])
if own and tonumber(own) >= tonumber(ARGV[1]) then ahead = ahead - 1 end
return {{all[1], all[2], meta[1], meta[2], ahead, redis.call('ZCARD', KEYS[1])}}
"""
# ARGV values and ids in turn
BEFORE: Final = f"""{_STATE}{COUNT_BEFORE}
local counts = {{}}
for i = 1, #ARGV, 2 do counts[#counts + 1] = before(ARGV[i], ARGV[i + 1]) end
return {{all[1], all[2], meta[1], meta[2], counts}}
"""
# ARGV the first place from 0, and the one behind the last
SLICE: Final = f"""{_STATE}
local found = {{}}
if tonumber(ARGV[1]) < tonumber(ARGV[2]) then
  found = redis.call('ZREVRANGE', KEYS[1], ARGV[1], ARGV[2] - 1, 'WITHSCORES')
end
return {{all[1], all[2], meta[1], meta[2], redis.call('ZCARD', KEYS[1]), found}}
"""
ALL: Final = (HEAD, PLACES, PAGE, AROUND, AHEAD, BEFORE, SLICE)
