-- script: end_signin
-- purpose: records what came of completing a sign-in, or lets it wait on as it was
-- KEYS[1] meta: sequence
-- KEYS[2] signins: sign-ins by state
-- ARGV[1] state: which
-- ARGV[2] owner: who took it
-- ARGV[3] phase: pending, completed or failed
-- ARGV[4] outcome: how the account was stored, or why it was not; empty when pending
-- ARGV[5] whom: what the outcome is about: an e-mail, a number, Google's word for it
-- ARGV[6] keep_ms: how long the result is kept
-- ARGV[7] now: ms since the epoch, empty for the store's own time
-- reply: {OK, seq, now} | {LOST, seq, now} when it is no longer the caller's
-- complexity: O(1)
-- durability: periodic
local now = clock(ARGV[7])
local signin = read_signin(KEYS[2], ARGV[1], now)
if not signin or signin[2] ~= 'taken' or signin[8] ~= ARGV[2] then
  return { 'LOST', tonumber(redis.call('HGET', KEYS[1], 'seq') or 0), now }
end
local seq = redis.call('HINCRBY', KEYS[1], 'seq', 1)
signin[2], signin[8], signin[9] = ARGV[3], '', 0
if ARGV[3] ~= 'pending' then
  -- The verifier has had its use.
  signin[4], signin[5], signin[10], signin[11] = now + tonumber(ARGV[6]), '', ARGV[4], ARGV[5]
end
write_signin(KEYS[2], ARGV[1], signin)
return { 'OK', seq, now }
