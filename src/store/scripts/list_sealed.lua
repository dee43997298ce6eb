-- script: list_sealed
-- purpose: a page of what is sealed, in the order of accounts, for sealing it anew
-- KEYS[1] meta: sequence
-- KEYS[2] roster: order of accounts
-- KEYS[3] cred: sealed credentials
-- KEYS[4] tok: sealed access tokens
-- ARGV[1] cursor: number of the last account seen, 0 from the start
-- ARGV[2] cap: most accounts in the page
-- ARGV[3] now: ms since the epoch, empty for the store's own time
-- reply: {OK, seq, now, next cursor or 0, then per account 3 values: id, sealed credential, sealed token; empty where
--    there is none}
-- complexity: O(cap)
-- durability: periodic
local now = clock(ARGV[3])
local rows = redis.call('ZRANGEBYSCORE', KEYS[2], '(' .. ARGV[1], '+inf', 'LIMIT', 0, tonumber(ARGV[2]))
local reply = { 'OK', tonumber(redis.call('HGET', KEYS[1], 'seq') or 0), now, 0 }
for _, id in ipairs(rows) do
  reply[#reply + 1] = id
  reply[#reply + 1] = redis.call('HGET', KEYS[3], id) or ''
  reply[#reply + 1] = read_token(redis.call('HGET', KEYS[4], id)).sealed
end
if #rows == tonumber(ARGV[2]) then reply[4] = tonumber(redis.call('ZSCORE', KEYS[2], rows[#rows])) end
return reply
