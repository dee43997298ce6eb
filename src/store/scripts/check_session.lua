-- script: check_session
-- purpose: whether a session is in force, which its use extends but a look does not; and what closes the door, unless the caller knows it
-- KEYS[1] meta: sequence and generations
-- KEYS[2] console: password
-- KEYS[3] sessions: sessions by the SHA-256 of their tokens
-- ARGV[1] generation: of the console that the caller knows; empty for none
-- ARGV[2] digest: of the session's token; empty asks for the door alone
-- ARGV[3] idle_ms: how long a session lasts without use; empty for a look
-- ARGV[4] now: ms since the epoch, empty for the store's own time
-- reply: {OK, seq, now, generation, 1 if it is not the known one, then password hash (empty for none), id, begun at, ends
--    without use, ends (all ms)} | {NONE, seq, now, generation, 0 or 1, password hash}
-- complexity: O(1)
-- durability: periodic
local now = clock(ARGV[4])
local seq, generation, news, hash = console_state(KEYS[1], KEYS[2], ARGV[1])
local session = read_session(redis.call('HGET', KEYS[3], ARGV[2]), now)
if not session then return { 'NONE', seq, now, generation, news, hash } end
-- A console that is looked at asks all the time: one write a minute is enough.
if ARGV[3] ~= '' and elapsed(now, tonumber(session[4])) >= 60000 then
  session[4] = exact(now)
  session[5] = exact(math.min(now + tonumber(ARGV[3]), tonumber(session[6])))
  redis.call('HSET', KEYS[3], ARGV[2], table.concat(session, '\31'))
end
return { 'OK', seq, now, generation, news, hash, session[2], session[3], session[5], session[6] }
