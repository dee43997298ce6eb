-- script: heartbeat
-- purpose: renews leases of attempts that are under way, one that lapsed meanwhile lives again; then drops those
--    whose holder is gone, also when the caller holds none. Puts counts right when leases or conversations were lost
-- KEYS[1] meta: sequence
-- KEYS[2] hot: selection records
-- KEYS[3] leases: live leases
-- KEYS[4] convs: live conversations
-- KEYS[5..] req: one per attempt
-- ARGV[1] lease_ms: how long the leases live from now on
-- ARGV[2..] lease: one id per attempt, in the order of the keys
-- ARGV[#] now: ms since the epoch, empty for the store's own time
-- reply: {OK, seq, now, leases dropped (256: there may be more), then per lease 1 renewed, 2 revived,
--    0 unknown or settled}
-- complexity: O((leases in the call, at most 1,024, + 256) * log live leases); all members and accounts once after a loss
-- durability: periodic
local now = clock(ARGV[#ARGV])
local ends = now + tonumber(ARGV[1])
local reply = { 'OK', 0, now, 0 }
recount(KEYS[3], KEYS[2], 'n')
recount(KEYS[4], KEYS[2], 'c')
for i = 5, #KEYS do
  local recorded = redis.call('GET', KEYS[i])
  local outcome = 0
  if recorded then
    local d = split(recorded)
    if d[1] == 'open' and redis.call('HGET', KEYS[2], d[2]) then
      local member = d[2] .. '/' .. ARGV[i - 3]
      outcome = 1
      if redis.call('ZADD', KEYS[3], ends, member) == 1 then
        outcome = 2
        change_count(KEYS[2], d[2], 'n', 1)
      end
      redis.call('PEXPIRE', KEYS[i], 900000)
    end
  end
  reply[#reply + 1] = outcome
end
reply[4] = lapse(KEYS[3], KEYS[2], 'n', now, 256)
if #KEYS > 4 or reply[4] > 0 then
  reply[2] = redis.call('HINCRBY', KEYS[1], 'seq', 1)
else
  reply[2] = tonumber(redis.call('HGET', KEYS[1], 'seq') or 0)
end
return reply
