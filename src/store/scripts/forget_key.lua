-- script: forget_key
-- purpose: takes an encryption key off the pool's list, if nothing is sealed by it any more
-- KEYS[1] meta: sequence
-- KEYS[2] vault: key id -> a text sealed by that key
-- KEYS[3] cred: sealed credentials
-- KEYS[4] tok: sealed access tokens
-- KEYS[5] signins: sign-ins by state
-- ARGV[1] id: key
-- ARGV[2] now: ms since the epoch, empty for the store's own time
-- reply: {OK|NONE, seq, now} | {USED, seq, now, secrets sealed by it}
-- complexity: O(accounts + sign-ins, at most 121)
-- durability: fsync
local now = clock(ARGV[2])
local seq = tonumber(redis.call('HGET', KEYS[1], 'seq') or 0)
local used = count_keys(KEYS[3], KEYS[4])[ARGV[1]] or 0
-- What a sign-in that waits needs is not sealed anew: it ends by itself.
for _, text in ipairs(redis.call('HVALS', KEYS[5])) do
  local signin = split(text)
  if signin[1] == '1' and tonumber(signin[4]) > now and key_of(signin[5]) == ARGV[1] then used = used + 1 end
end
if used > 0 then return { 'USED', seq, now, used } end
if redis.call('HDEL', KEYS[2], ARGV[1]) == 0 then return { 'NONE', seq, now } end
return { 'OK', redis.call('HINCRBY', KEYS[1], 'seq', 1), now }
