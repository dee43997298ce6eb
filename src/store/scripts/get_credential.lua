-- script: get_credential
-- purpose: hands out an account's sealed credential, for moving the account elsewhere
-- KEYS[1] meta: sequence
-- KEYS[2] cred: sealed credentials
-- ARGV[1] id: account
-- ARGV[2] now: ms since the epoch, empty for the store's own time
-- reply: {OK, seq, now, sealed credential} | {NONE, seq, now}
-- complexity: O(1)
-- durability: periodic
local now = clock(ARGV[2])
local seq = tonumber(redis.call('HGET', KEYS[1], 'seq') or 0)
local sealed = redis.call('HGET', KEYS[2], ARGV[1])
if not sealed then return { 'NONE', seq, now } end
return { 'OK', seq, now, sealed }
