-- script: set_password
-- purpose: sets or removes the console's password, if nobody else did since the caller looked; all sessions end, and no
--    setup token is good any more
-- KEYS[1] meta: sequence, generations and number of the newest record
-- KEYS[2] console: password and setup tokens
-- KEYS[3] sessions: sessions by the SHA-256 of their tokens
-- KEYS[4] tickets: for the log stream
-- KEYS[5] audit: records of operators
-- ARGV[1] generation: of the console as the caller knows it
-- ARGV[2] hash: of the new password; empty removes it
-- ARGV[3] token: SHA-256 of the setup token that allows it; empty where none is needed
-- ARGV[4] row: for the audit trail
-- ARGV[5] channel: of events
-- ARGV[6] now: ms since the epoch, empty for the store's own time
-- reply: {OK, seq, now, generation, sessions ended} | {CHANGED, seq, now, generation} | {TOKEN, seq, now, generation} when
--    the token is not good, or no longer, or a password is set already
-- complexity: O(sessions + setup tokens)
-- durability: fsync
local now = clock(ARGV[6])
local row = redis.call('HMGET', KEYS[1], 'seq', 'gen:console')
local current, generation = tonumber(row[1] or 0), tonumber(row[2] or 0)
if tonumber(ARGV[1]) ~= generation then return { 'CHANGED', current, now, generation } end
local before = redis.call('HGET', KEYS[2], 'hash')
if ARGV[3] ~= '' then
  local ends = redis.call('HGET', KEYS[2], ARGV[3])
  if before or not ends or tonumber(ends) <= now then return { 'TOKEN', current, now, generation } end
end
local seq = redis.call('HINCRBY', KEYS[1], 'seq', 1)
local ended = redis.call('HLEN', KEYS[3])
redis.call('DEL', KEYS[2], KEYS[3], KEYS[4])
if ARGV[2] ~= '' then redis.call('HSET', KEYS[2], 'hash', ARGV[2]) end
generation = redis.call('HINCRBY', KEYS[1], 'gen:console', 1)
audit(KEYS[1], KEYS[5], ARGV[4], seq, now, generation, '',
  'password\30' .. (before and 'set' or 'none') .. '\30sessions\30' .. ended)
console_changed(ARGV[5], generation, seq)
return { 'OK', seq, now, generation, ended }
