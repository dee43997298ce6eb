-- script: end_sessions
-- purpose: ends one session, or all and what was made in them
-- KEYS[1] meta: sequence, generations and number of the newest record
-- KEYS[2] sessions: sessions by the SHA-256 of their tokens
-- KEYS[3] tickets: for the log stream
-- KEYS[4] audit: records of operators
-- ARGV[1] digest: of the session's token; `*` for all
-- ARGV[2] row: for the audit trail
-- ARGV[3] channel: of events
-- ARGV[4] now: ms since the epoch, empty for the store's own time
-- reply: {OK, seq, now, sessions ended} | {NONE, seq, now}
-- complexity: O(sessions)
-- durability: fsync
local now = clock(ARGV[4])
local count
if ARGV[1] == '*' then
  count = redis.call('HLEN', KEYS[2])
  redis.call('DEL', KEYS[2], KEYS[3])
else
  count = redis.call('HDEL', KEYS[2], ARGV[1])
  if count == 0 then return { 'NONE', tonumber(redis.call('HGET', KEYS[1], 'seq') or 0), now } end
end
local seq = redis.call('HINCRBY', KEYS[1], 'seq', 1)
audit(KEYS[1], KEYS[4], ARGV[2], seq, now, '', '', 'sessions\30' .. count)
console_changed(ARGV[3], tonumber(redis.call('HGET', KEYS[1], 'gen:console') or 0), seq)
return { 'OK', seq, now, count }
