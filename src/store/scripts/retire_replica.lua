-- script: retire_replica
-- purpose: forgets a replica that ends in order
-- KEYS[1] meta: sequence
-- KEYS[2] replicas: records of replicas
-- ARGV[1] id: replica
-- ARGV[2] channel: of events
-- ARGV[3] now: ms since the epoch, empty for the store's own time
-- reply: {OK, seq, now} | {NONE, seq, now} when it had lapsed
-- complexity: O(1)
-- durability: periodic
local now = clock(ARGV[3])
if redis.call('HDEL', KEYS[2], ARGV[1]) == 0 then
  return { 'NONE', tonumber(redis.call('HGET', KEYS[1], 'seq') or 0), now }
end
local seq = redis.call('HINCRBY', KEYS[1], 'seq', 1)
redis.call('PUBLISH', ARGV[2], 'replica ' .. ARGV[1] .. ' ' .. seq)
return { 'OK', seq, now }
