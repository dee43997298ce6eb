-- script: put_setup
-- purpose: remembers a setup token with which the first password may be set, while there is none; of too many the one
--    that ends first gives way
-- KEYS[1] meta: sequence
-- KEYS[2] console: password and setup tokens
-- ARGV[1] token: its SHA-256, hex
-- ARGV[2] life_ms: how long it is good
-- ARGV[3] most: tokens there may be
-- ARGV[4] now: ms since the epoch, empty for the store's own time
-- reply: {OK, seq, now} | {SET, seq, now} when there is a password
-- complexity: O(setup tokens)
-- durability: periodic
local now = clock(ARGV[4])
local seq = tonumber(redis.call('HGET', KEYS[1], 'seq') or 0)
local rows, count, first, at = redis.call('HGETALL', KEYS[2]), 0, nil, nil
for i = 1, #rows, 2 do
  local ends = tonumber(rows[i + 1])
  if rows[i] == 'hash' then return { 'SET', seq, now } end
  if ends <= now then
    redis.call('HDEL', KEYS[2], rows[i])
  else
    count = count + 1
    if not at or ends < at or ends == at and rows[i] < first then first, at = rows[i], ends end
  end
end
if count >= tonumber(ARGV[3]) then redis.call('HDEL', KEYS[2], first) end
redis.call('HSET', KEYS[2], ARGV[1], exact(now + tonumber(ARGV[2])))
return { 'OK', seq, now }
