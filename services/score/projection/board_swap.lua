-- Replaces a board by a rebuilt one, if that is complete and no other rebuild has taken over.
--
-- KEYS  board, meta, previous, shown, the rebuilt board, the rebuilt metadata
-- ARGV  1 token of the rebuild   2 expected number of members   3 generation   4 expiry in s since 1970, 0 for never
--       5 expected number of members with metadata
-- Returns 1, or 0 without any change if the token or a number of members differs.
local board, meta, previous, shown, rebuilt, rebuilt_shown = KEYS[1], KEYS[2], KEYS[3], KEYS[4], KEYS[5], KEYS[6]
local expires_at, texts = tonumber(ARGV[4]), tonumber(ARGV[5])
if redis.call('HGET', meta, 'rebuild') ~= ARGV[1] or redis.call('ZCARD', rebuilt) ~= tonumber(ARGV[2]) then
  return 0
end
if texts > 0 and redis.call('HLEN', rebuilt_shown) ~= texts then
  return 0
end
if tonumber(ARGV[2]) == 0 then
  redis.call('DEL', board)
else
  redis.call('RENAME', rebuilt, board)
  redis.call('PERSIST', board)
end
if redis.call('HDEL', meta, 'rebuild', 'shown') == 2 then
  redis.call('DEL', shown)
end
if texts > 0 then
  redis.call('RENAME', rebuilt_shown, shown)
  redis.call('PERSIST', shown)
  redis.call('HSET', meta, 'shown', 1)
end
redis.call('HSET', meta, 'generation', ARGV[3])
redis.call('HINCRBY', meta, 'version', 1)
if expires_at > 0 then
  redis.call('EXPIREAT', board, expires_at)
  redis.call('EXPIREAT', meta, expires_at)
  redis.call('EXPIREAT', previous, expires_at)
  redis.call('EXPIREAT', shown, expires_at)
end
return 1
