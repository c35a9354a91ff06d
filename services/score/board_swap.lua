-- Puts a board that was made anew in the place of the one in use, if it is whole and nobody else makes it.
--
-- KEYS  board, meta, previous, the new board
-- ARGV  1 token of the maker   2 members the new board must have   3 generation   4 expiry in s since 1970, 0 for never
-- Returns 1, or 0 if the token or the number of members is another: then nothing was done.
local board, meta, previous, made = KEYS[1], KEYS[2], KEYS[3], KEYS[4]
local expires_at = tonumber(ARGV[4])
if redis.call('HGET', meta, 'rebuild') ~= ARGV[1] or redis.call('ZCARD', made) ~= tonumber(ARGV[2]) then
  return 0
end
if tonumber(ARGV[2]) == 0 then
  redis.call('DEL', board)
else
  redis.call('RENAME', made, board)
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
