-- script: fail_refresh
-- purpose: records that a refresh failed: for a while (5 s, doubling to 60 s), or for good when the
--    credential was revoked
-- KEYS[1] meta: sequence
-- KEYS[2] hot: selection records
-- KEYS[3] inv: when and why accounts became invalid
-- KEYS[4] tlock: who refreshes this account
-- KEYS[5] tfail: failed refreshes of this account, `until|pause`
-- ARGV[1] id: account
-- ARGV[2] owner: of the lock
-- ARGV[3] cv: credential version that was used
-- ARGV[4] kind: transient or revoked
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
local pause = failed and math.min(60000, tonumber(string.match(failed, '|(%d+)$')) * 2) or 5000
redis.call('SET', KEYS[5], (now + pause) .. '|' .. pause, 'PX', pause + 60000)
return { 'OK', seq, now, pause, 0 }
