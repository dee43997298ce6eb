-- script: put_models
-- purpose: keeps the catalogue of models the upstream offers, for a day in case it cannot be fetched
-- KEYS[1] meta: sequence
-- KEYS[2] models: the catalogue
-- ARGV[1] text: opaque
-- ARGV[2] channel: of events
-- ARGV[3] now: ms since the epoch, empty for the store's own time
-- reply: {OK, seq, now}
-- complexity: O(1)
-- durability: periodic
local now = clock(ARGV[3])
local seq = redis.call('HINCRBY', KEYS[1], 'seq', 1)
redis.call('HSET', KEYS[2], 'text', ARGV[1], 'at', now)
redis.call('PEXPIRE', KEYS[2], 86400000)
redis.call('PUBLISH', ARGV[2], 'models - ' .. seq)
return { 'OK', seq, now }
