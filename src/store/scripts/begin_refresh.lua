-- script: begin_refresh
-- purpose: hands out the account's access token, or the right to fetch a new one, or how long to wait; a token that
--    is due may be renewed by one while the others go on with it
-- KEYS[1] meta: sequence
-- KEYS[2] hot: selection records
-- KEYS[3] acct: account records
-- KEYS[4] cred: sealed credentials
-- KEYS[5] tok: sealed access tokens
-- KEYS[6] tlock: who refreshes this account
-- KEYS[7] tfail: failed refreshes of this account, `until|pause`
-- ARGV[1] id: account
-- ARGV[2] owner: of the lock
-- ARGV[3] lock_ms: time allowed for the refresh
-- ARGV[4] due_ms: a token with no more than so much life left is to be renewed; 0 only one that has none
-- ARGV[5] now: ms since the epoch, empty for the store's own time
-- reply: {TOKEN, seq, now, credential version, generation, ms left, sealed} | {GRANTED, seq, now, credential
--    version, source, sealed credential} | {WAIT, seq, now, ms} another refreshes | {FAILED, seq, now, ms} until
--    the next try | {INVALID, seq, now, reason} | {NONE, seq, now}
-- complexity: O(1)
-- durability: periodic
local now = clock(ARGV[5])
local id = ARGV[1]
local seq = tonumber(redis.call('HGET', KEYS[1], 'seq') or 0)
local text = redis.call('HGET', KEYS[2], id)
if not text then return { 'NONE', seq, now } end
local a = read_hot(text)
if a.inv ~= 0 then return { 'INVALID', seq, now, REASONS[a.inv] } end
local token = read_token(redis.call('HGET', KEYS[5], id))
if token_is_fresh(token, a.cv, now) and token.ends - now > tonumber(ARGV[4]) then
  return { 'TOKEN', seq, now, a.cv, token.gen, token.ends - now, token.sealed }
end
local failed = redis.call('GET', KEYS[7])
local again = failed and tonumber(string.match(failed, '^(%d+)|')) or 0
if again > now then return { 'FAILED', seq, now, again - now } end
local owner, left = lock_state(KEYS[6], now)
if owner and owner ~= ARGV[2] then return { 'WAIT', seq, now, left } end
local source = read_account(redis.call('HGET', KEYS[3], id))[4]
local credential = redis.call('HGET', KEYS[4], id)
seq = redis.call('HINCRBY', KEYS[1], 'seq', 1)
take_lock(KEYS[6], ARGV[2], tonumber(ARGV[3]), now)
return { 'GRANTED', seq, now, a.cv, source, credential }
