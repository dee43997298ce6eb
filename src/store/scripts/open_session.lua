-- script: open_session
-- purpose: begins a session for the right password, unless that was changed meanwhile; of too many the one that was used
--    longest ago gives way
-- KEYS[1] meta: sequence, generations and number of the newest record
-- KEYS[2] sessions: sessions by the SHA-256 of their tokens
-- KEYS[3] audit: records of operators
-- ARGV[1] generation: of the console that the password was right for
-- ARGV[2] digest: of the session's token
-- ARGV[3] id: by which it may be told
-- ARGV[4] idle_ms: how long it lasts without use
-- ARGV[5] life_ms: how long it lasts at all
-- ARGV[6] most: sessions there may be
-- ARGV[7] row: for the audit trail
-- ARGV[8] now: ms since the epoch, empty for the store's own time
-- reply: {OK, seq, now, ends without use (ms), ends (ms)} | {CHANGED, seq, now}
-- complexity: O(sessions)
-- durability: periodic
local now = clock(ARGV[8])
local row = redis.call('HMGET', KEYS[1], 'seq', 'gen:console')
if tonumber(row[2] or 0) ~= tonumber(ARGV[1]) then return { 'CHANGED', tonumber(row[1] or 0), now } end
local known = read_session(redis.call('HGET', KEYS[2], ARGV[2]), now)
-- The same call once more.
if known then return { 'OK', tonumber(row[1] or 0), now, known[5], known[6] } end
local all, count, oldest, used = redis.call('HGETALL', KEYS[2]), 0, nil, nil
for i = 1, #all, 2 do
  local session = read_session(all[i + 1], now)
  if not session then
    redis.call('HDEL', KEYS[2], all[i])
  else
    count = count + 1
    local at = tonumber(session[4])
    if not used or at < used or at == used and all[i] < oldest then oldest, used = all[i], at end
  end
end
if count >= tonumber(ARGV[6]) then redis.call('HDEL', KEYS[2], oldest) end
local seq = redis.call('HINCRBY', KEYS[1], 'seq', 1)
local idle, ends = exact(now + tonumber(ARGV[4])), exact(now + tonumber(ARGV[5]))
redis.call('HSET', KEYS[2], ARGV[2], table.concat({ '1', ARGV[3], exact(now), exact(now), idle, ends }, '\31'))
audit(KEYS[1], KEYS[3], ARGV[7], seq, now, '', '', '')
return { 'OK', seq, now, idle, ends }
