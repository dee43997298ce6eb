-- script: get_models
-- purpose: the catalogue of models and its age
-- KEYS[1] meta: sequence
-- KEYS[2] models: the catalogue
-- ARGV[1] now: ms since the epoch, empty for the store's own time
-- reply: {OK, seq, now, ms since it was fetched, text} | {NONE, seq, now}
-- complexity: O(1)
-- durability: periodic
local now = clock(ARGV[1])
local seq = tonumber(redis.call('HGET', KEYS[1], 'seq') or 0)
local row = redis.call('HMGET', KEYS[2], 'text', 'at')
if not row[1] then return { 'NONE', seq, now } end
return { 'OK', seq, now, elapsed(now, tonumber(row[2])), row[1] }
