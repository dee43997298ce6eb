-- script: get_signatures
-- purpose: recalls signatures and lets those found live on; they are written with half as much time again, so
--    that a recall need not write each time
-- KEYS[1] meta: sequence
-- KEYS[2..] sig: one per signature, at most 1,024
-- ARGV[1] ttl_ms: time a signature lives unused
-- ARGV[2] now: ms since the epoch, empty for the store's own time
-- reply: {OK, seq, now, then per key its value, empty when unknown}
-- complexity: O(signatures)
-- durability: periodic
local now = clock(ARGV[2])
local ttl = tonumber(ARGV[1])
local reply = { 'OK', tonumber(redis.call('HGET', KEYS[1], 'seq') or 0), now }
for i = 2, #KEYS do
  local value = redis.call('GET', KEYS[i])
  if value and redis.call('PTTL', KEYS[i]) < ttl then redis.call('PEXPIRE', KEYS[i], math.floor(ttl * 1.5)) end
  reply[i + 2] = value or ''
end
return reply
