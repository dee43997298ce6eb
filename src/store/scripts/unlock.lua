-- script: unlock
-- purpose: gives up elected work, if it is still the caller's
-- KEYS[1] meta: sequence
-- KEYS[2] lock: of the work
-- ARGV[1] owner: who held it
-- ARGV[2] now: ms since the epoch, empty for the store's own time
-- reply: {OK|LOST, seq, now}
-- complexity: O(1)
-- durability: periodic
local now = clock(ARGV[2])
if lock_state(KEYS[2], now) ~= ARGV[1] then
  return { 'LOST', tonumber(redis.call('HGET', KEYS[1], 'seq') or 0), now }
end
redis.call('DEL', KEYS[2])
return { 'OK', redis.call('HINCRBY', KEYS[1], 'seq', 1), now }
