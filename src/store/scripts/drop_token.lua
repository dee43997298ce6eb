-- script: drop_token
-- purpose: forgets an access token that was refused, unless a newer one took its place
-- KEYS[1] meta: sequence
-- KEYS[2] tok: sealed access tokens
-- ARGV[1] id: account
-- ARGV[2] generation: of the refused token
-- ARGV[3] now: ms since the epoch, empty for the store's own time
-- reply: {OK|STALE, seq, now}
-- complexity: O(1)
-- durability: periodic
local now = clock(ARGV[3])
local token = read_token(redis.call('HGET', KEYS[2], ARGV[1]))
if token.gen ~= tonumber(ARGV[2]) or token.sealed == '' then
  return { 'STALE', tonumber(redis.call('HGET', KEYS[1], 'seq') or 0), now }
end
local seq = redis.call('HINCRBY', KEYS[1], 'seq', 1)
token.sealed, token.ends = '', 0
write_token(KEYS[2], ARGV[1], token)
return { 'OK', seq, now }
