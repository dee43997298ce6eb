-- script: fail_refresh
-- purpose: records that a refresh failed: for a while (5 s, doubling to 60 s), in which an account without a token
--    rests, or for good when the credential was revoked; or gives the right to refresh back
-- KEYS[1] meta: sequence
-- KEYS[2] hot: selection records
-- KEYS[3] inv: when and why accounts became invalid
-- KEYS[4] tlock: who refreshes this account
-- KEYS[5] tfail: failed refreshes of this account, `until|pause`
-- KEYS[6] tok: sealed access tokens
-- KEYS[7] tdown: tokens cannot be fetched for now
-- ARGV[1] id: account
-- ARGV[2] owner: of the lock
-- ARGV[3] cv: credential version that was used
-- ARGV[4] kind: transient, revoked, or withdrawn when the account has no part in the failure
-- ARGV[5] channel: of events
-- ARGV[6] now: ms since the epoch, empty for the store's own time
-- reply: {OK, seq, now, ms until the next try, invalidated 0|1} | {LOST|NONE, seq, now}
-- complexity: O(1)
-- durability: fsync
local now = clock(ARGV[6])
local id = ARGV[1]
local text = redis.call('HGET', KEYS[2], id)
local current = tonumber(redis.call('HGET', KEYS[1], 'seq') or 0)
if not text then return { 'NONE', current, now } end
local holds = lock_state(KEYS[4], now) == ARGV[2]
if not holds and ARGV[4] ~= 'revoked' then return { 'LOST', current, now } end
local a = read_hot(text)
local failed = redis.call('GET', KEYS[5])
local seq = redis.call('HINCRBY', KEYS[1], 'seq', 1)
if holds then redis.call('DEL', KEYS[4]) end
if ARGV[4] == 'revoked' then
  local done = invalidate(KEYS[2], KEYS[3], id, a, tonumber(ARGV[3]), 'revoked', '', now)
  if done then redis.call('PUBLISH', ARGV[5], 'account ' .. id .. ' ' .. seq) end
  return { 'OK', seq, now, 0, done and 1 or 0 }
end
-- A failure of the credential that was there before says nothing of this one.
if ARGV[4] == 'withdrawn' or a.cv ~= tonumber(ARGV[3]) then return { 'OK', seq, now, 0, 0 } end
local pause = failed and math.min(60000, tonumber(string.match(failed, '|(%d+)$')) * 2) or 5000
redis.call('SET', KEYS[5], (now + pause) .. '|' .. pause, 'PX', pause + 60000)
redis.call('SET', KEYS[7], id, 'PX', pause + 30000)
if not token_is_fresh(read_token(redis.call('HGET', KEYS[6], id)), a.cv, now) then
  a.cool = math.max(a.cool, now + pause)
  write_hot(KEYS[2], id, a)
end
return { 'OK', seq, now, pause, 0 }
