-- script: end_attempt
-- purpose: says what came of a try at the console's door. A wrong one is told in the audit trail once an hour, and so is
--    the one by which its peer is locked out
-- KEYS[1] meta: sequence and number of the newest record
-- KEYS[2] tries: of this peer
-- KEYS[3] strangers: records of strangers
-- ARGV[1] mark: of the credential
-- ARGV[2] right: 1 if it was right, which leaves nothing of it
-- ARGV[3] generation: of the console that it was tried on
-- ARGV[4] most: different wrong ones within the window
-- ARGV[5] window_ms: that window
-- ARGV[6] failed: the record of a wrong one
-- ARGV[7] locked: the record of a lock-out
-- ARGV[8] now: ms since the epoch, empty for the store's own time
-- reply: {OK, seq, now, different ones that count}
-- complexity: O(tries of the peer + log records)
-- durability: periodic
local now = clock(ARGV[8])
local seq = tonumber(redis.call('HGET', KEYS[1], 'seq') or 0)
local tries = read_tries(KEYS[2], now)
if ARGV[2] == '1' then
  tries[ARGV[1]] = nil
  redis.call('HDEL', KEYS[2], ARGV[1])
  return { 'OK', seq, now, (counting(tries, tonumber(ARGV[5]), now)) }
end
local own = tries[ARGV[1]] or { 'p', exact(now), '0' }
local news = own[1] == 'p'
tries[ARGV[1]] = own
own[1], own[4] = 'w', ARGV[3]
local count = counting(tries, tonumber(ARGV[5]), now)
if elapsed(now, tonumber(own[3])) >= TRIES_KEPT then
  own[3] = exact(now)
  audit_stranger(KEYS[1], KEYS[3], ARGV[6], seq, now)
end
if news and count == tonumber(ARGV[4]) then audit_stranger(KEYS[1], KEYS[3], ARGV[7], seq, now) end
write_try(KEYS[2], ARGV[1], own)
return { 'OK', seq, now, count }
