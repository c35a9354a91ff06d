-- Replaces a board by a rebuilt one, if that is complete and no other rebuild has taken over.
--
-- KEYS  board, meta, previous, the rebuilt board
-- ARGV  1 token of the rebuild   2 expected number of members   3 generation   4 expiry in s since 1970, 0 for never
-- Returns 1, or 0 without any change if the token or the number of members differs.
local board, meta, previous, rebuilt = KEYS[1], KEYS[2], KEYS[3], KEYS[4]
local expires_at = tonumber(ARGV[4])
if redis.call('HGET', meta, 'rebuild') ~= ARGV[1] or redis.call('ZCARD', rebuilt) ~= tonumber(ARGV[2]) then
  return 0
end
if tonumber(ARGV[2]) == 0 then
  redis.call('DEL', board)
else
  redis.call('RENAME', rebuilt, board)
  redis.call('PERSIST', board)
end
redis.call('HDEL', meta, 'rebuild')
redis.call('HSET', meta, 'generation', ARGV[3])
redis.call('HINCRBY', meta, 'version', 1)
if expires_at > 0 then
  redis.call('EXPIREAT', board, expires_at)
  redis.call('EXPIREAT', meta, expires_at)
  redis.call('EXPIREAT', previous, expires_at)
end
return 1
