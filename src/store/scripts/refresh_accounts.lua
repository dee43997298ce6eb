-- script: refresh_accounts
-- purpose: forgets what was derived from the credentials of accounts, so that it is made anew: access tokens, pauses after
--    what failed, and when projects and tiers were looked for. On demand, what an owner had to verify is valid again
-- KEYS[1] meta: sequence
-- KEYS[2] hot: selection records
-- KEYS[3] inv: when and why accounts became invalid
-- KEYS[4] tok: sealed access tokens
-- KEYS[5..] tfail: per account 4 keys: failed refreshes, and the locks of the search for its project, of that for its tier,
--    and of the question for its quotas
-- ARGV[1] verified: 1 when owners say that they have verified these accounts, else 0
-- ARGV[2] channel: of events
-- ARGV[3..] id: one per account, in the order of the keys, at most 200
-- ARGV[#] now: ms since the epoch, empty for the store's own time
-- reply: {OK, seq, now, accounts that exist, tokens forgotten, accounts whose project or tier is looked for anew, then
--    the ids of those that are valid again}
-- complexity: O(accounts)
-- durability: fsync
local now = clock(ARGV[#ARGV])
local seq = redis.call('HINCRBY', KEYS[1], 'seq', 1)
local found, tokens, projects, valid = 0, 0, 0, {}
for i = 3, #ARGV - 1 do
  local id, k = ARGV[i], 4 * i - 7
  local text = redis.call('HGET', KEYS[2], id)
  if text then
    found = found + 1
    local token = read_token(redis.call('HGET', KEYS[4], id))
    if token.sealed ~= '' then
      tokens = tokens + 1
      token.sealed, token.ends = '', 0
      write_token(KEYS[4], id, token)
    end
    redis.call('DEL', KEYS[k])
    if redis.call('DEL', KEYS[k + 1], KEYS[k + 2]) > 0 then projects = projects + 1 end
    -- Whoever is asking now is left in peace.
    local _, _, pause = lock_state(KEYS[k + 3], now)
    if pause then redis.call('DEL', KEYS[k + 3]) end
    local a = ARGV[1] == '1' and is_hot(text) and read_hot(text)
    if a and REASONS[a.inv] == 'verification' then
      valid[#valid + 1] = id
      a.inv, a.h, a.hat, a.cf, a.cool = 0, -1, 0, 0, 0
      write_hot(KEYS[2], id, a)
      redis.call('HDEL', KEYS[3], id)
    end
    redis.call('PUBLISH', ARGV[2], 'account ' .. id .. ' ' .. seq)
  end
end
return { 'OK', seq, now, found, tokens, projects, unpack(valid) }
