-- script: take_signin
-- purpose: gives one caller the right to complete a sign-in for a while; its holder renews it the same way. When the
--    holder is silent for that long, another may try: what Google gave the browser is of use once only
-- KEYS[1] meta: sequence
-- KEYS[2] signins: sign-ins by state
-- ARGV[1] state: which
-- ARGV[2] owner: who asks
-- ARGV[3] hold_ms: for how long
-- ARGV[4] now: ms since the epoch, empty for the store's own time
-- reply: {OK, seq, now, sealed verifier, redirect address, expected e-mail or empty} | {BUSY, seq, now, ms} when another
--    completes it | {USED, seq, now} when it has ended | {NONE, seq, now}
-- complexity: O(1)
-- durability: periodic
local now = clock(ARGV[4])
local signin = read_signin(KEYS[2], ARGV[1], now)
local refusal
if not signin then
  refusal = { 'NONE' }
elseif signin[2] == 'completed' or signin[2] == 'failed' then
  refusal = { 'USED' }
elseif is_taken(signin, now) and signin[8] ~= ARGV[2] then
  refusal = { 'BUSY' }
end
if refusal then
  refusal[2], refusal[3] = tonumber(redis.call('HGET', KEYS[1], 'seq') or 0), now
  if refusal[1] == 'BUSY' then refusal[4] = tonumber(signin[9]) - now end
  return refusal
end
local seq = redis.call('HINCRBY', KEYS[1], 'seq', 1)
signin[2], signin[8], signin[9] = 'taken', ARGV[2], now + tonumber(ARGV[3])
write_signin(KEYS[2], ARGV[1], signin)
return { 'OK', seq, now, signin[5], signin[6], signin[7] }
