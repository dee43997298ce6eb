-- script: list_trackers
-- purpose: a page of accounts with what their trackers say now: health and request bucket, as selection reads them
-- KEYS[1] meta: sequence
-- KEYS[2] cfg: shared settings
-- KEYS[3] roster: order of accounts
-- KEYS[4] acct: account records
-- KEYS[5] hot: selection records
-- ARGV[1] cursor: number of the last account seen, 0 from the start
-- ARGV[2] cap: most accounts in the page
-- ARGV[3] base: settings below the shared ones
-- ARGV[4] pinned: settings above them
-- ARGV[5] now: ms since the epoch, empty for the store's own time
-- reply: {OK, seq, now, strategy, size of a bucket, next cursor or 0, then per account that is enabled and can be read
--    8 values: email, health, enough of it 0|1, tokens, enough of them 0|1, failures in a row, in flight, last used}
-- complexity: O(cap)
-- durability: periodic
local now = clock(ARGV[5])
local s = load_settings(KEYS[2], ARGV[3], ARGV[4])
local cap = tonumber(ARGV[2])
local rows = redis.call('ZRANGEBYSCORE', KEYS[3], '(' .. ARGV[1], '+inf', 'WITHSCORES', 'LIMIT', 0, cap)
local next_page = #rows == 2 * cap and tonumber(rows[#rows]) or 0
local reply = {
  'OK', tonumber(redis.call('HGET', KEYS[1], 'seq') or 0), now, s['strategy'], exact(s['bucket.max']), next_page,
}
local n = #reply
local function put(value)
  n = n + 1
  reply[n] = value
end
for i = 1, #rows, 2 do
  local record, text = redis.call('HGET', KEYS[4], rows[i]), redis.call('HGET', KEYS[5], rows[i])
  local a = is_account(record) and is_hot(text) and read_hot(text)
  if a and a.en == 1 then
    local health, tokens = health_of(a, now, s), tokens_of(a, now, s)
    put(read_account(record)[3])
    put(exact(health))
    put(health < s['health.minUsable'] and 0 or 1)
    put(exact(tokens))
    put(tokens < 1 and 0 or 1)
    put(a.cf)
    put(a.n)
    put(a.lu)
  end
end
return reply
