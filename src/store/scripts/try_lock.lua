-- script: try_lock
-- purpose: elects one replica for a piece of background work; its holder renews it the same way, or makes a pause of it:
--    then nobody is at the work, and nobody else is elected before its end
-- KEYS[1] meta: sequence
-- KEYS[2] lock: of the work
-- ARGV[1] owner: who asks
-- ARGV[2] ttl_ms: how long it holds
-- ARGV[3] pause: 1 for a pause, else 0
-- ARGV[4] now: ms since the epoch, empty for the store's own time
-- reply: {OK, seq, now} | {HELD|PAUSED, seq, now, ms}
-- complexity: O(1)
-- durability: periodic
local now = clock(ARGV[4])
local owner, left, pause = lock_state(KEYS[2], now)
if owner and owner ~= ARGV[1] then
  return { pause and 'PAUSED' or 'HELD', tonumber(redis.call('HGET', KEYS[1], 'seq') or 0), now, left }
end
local seq = redis.call('HINCRBY', KEYS[1], 'seq', 1)
take_lock(KEYS[2], ARGV[1] .. (ARGV[3] == '1' and PAUSE or ''), tonumber(ARGV[2]), now)
return { 'OK', seq, now }
