-- script: reseal
-- purpose: replaces a sealed secret by the same secret sealed by another key, if it is still the one that was read
-- KEYS[1] meta: sequence
-- KEYS[2] cred: sealed credentials
-- KEYS[3] tok: sealed access tokens
-- ARGV[1] id: account
-- ARGV[2] place: cred or tok
-- ARGV[3] seen: the sealed text as it was read
-- ARGV[4] sealed: the new one
-- ARGV[5] now: ms since the epoch, empty for the store's own time
-- reply: {OK|CHANGED, seq, now}
-- complexity: O(1)
-- durability: fsync
local now = clock(ARGV[5])
local id = ARGV[1]
local token = ARGV[2] == 'tok' and read_token(redis.call('HGET', KEYS[3], id))
local current = token and token.sealed or not token and redis.call('HGET', KEYS[2], id)
if current ~= ARGV[3] then return { 'CHANGED', tonumber(redis.call('HGET', KEYS[1], 'seq') or 0), now } end
local seq = redis.call('HINCRBY', KEYS[1], 'seq', 1)
if token then
  token.sealed = ARGV[4]
  write_token(KEYS[3], id, token)
else
  redis.call('HSET', KEYS[2], id, ARGV[4])
end
return { 'OK', seq, now }
