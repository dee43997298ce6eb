-- script: take_ticket
-- purpose: takes a ticket for the log stream, which is good once
-- KEYS[1] meta: sequence
-- KEYS[2] tickets: by the SHA-256 of each
-- ARGV[1] ticket: its SHA-256, hex
-- ARGV[2] now: ms since the epoch, empty for the store's own time
-- reply: {OK, seq, now, who asked for it} | {NONE, seq, now}
-- complexity: O(1)
-- durability: fsync
local now = clock(ARGV[2])
local seq = tonumber(redis.call('HGET', KEYS[1], 'seq') or 0)
local text = redis.call('HGET', KEYS[2], ARGV[1])
if not text then return { 'NONE', seq, now } end
redis.call('HDEL', KEYS[2], ARGV[1])
local ticket = split(text)
if tonumber(ticket[1]) <= now then return { 'NONE', seq, now } end
return { 'OK', seq, now, ticket[2] }
