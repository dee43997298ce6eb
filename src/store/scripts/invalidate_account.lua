-- script: invalidate_account
-- purpose: marks an account as needing its owner, if the verdict is about the credential it has now
-- KEYS[1] meta: sequence
-- KEYS[2] hot: selection records
-- KEYS[3] inv: when and why accounts became invalid
-- ARGV[1] id: account
-- ARGV[2] cv: credential version the verdict is about
-- ARGV[3] reason: revoked, banned or verification
-- ARGV[4] address: where the owner verifies, or empty
-- ARGV[5] channel: of events
-- ARGV[6] now: ms since the epoch, empty for the store's own time
-- reply: {OK|STALE|NONE, seq, now}; STALE also when it was invalid before
-- complexity: O(1)
-- durability: fsync
local now = clock(ARGV[6])
local text = redis.call('HGET', KEYS[2], ARGV[1])
if text and not REASON_CODES[ARGV[3]] then return redis.error_reply('REASON unknown') end
local seq = tonumber(redis.call('HGET', KEYS[1], 'seq') or 0)
if not text then return { 'NONE', seq, now } end
if not invalidate(KEYS[2], KEYS[3], ARGV[1], read_hot(text), tonumber(ARGV[2]), ARGV[3], ARGV[4], now) then
  return { 'STALE', seq, now }
end
seq = redis.call('HINCRBY', KEYS[1], 'seq', 1)
redis.call('PUBLISH', ARGV[5], 'account ' .. ARGV[1] .. ' ' .. seq)
return { 'OK', seq, now }
