-- script: get_signin
-- purpose: how a sign-in stands
-- KEYS[1] meta: sequence
-- KEYS[2] signins: sign-ins by state
-- ARGV[1] state: which
-- ARGV[2] now: ms since the epoch, empty for the store's own time
-- reply: {PENDING|TAKEN, seq, now, ms left} | {COMPLETED|FAILED, seq, now, outcome, whom} | {NONE, seq, now}
-- complexity: O(1)
-- durability: periodic
local now = clock(ARGV[2])
local seq = tonumber(redis.call('HGET', KEYS[1], 'seq') or 0)
local signin = read_signin(KEYS[2], ARGV[1], now)
if not signin then return { 'NONE', seq, now } end
if signin[2] == 'completed' then return { 'COMPLETED', seq, now, signin[10], signin[11] } end
if signin[2] == 'failed' then return { 'FAILED', seq, now, signin[10], signin[11] } end
return { is_taken(signin, now) and 'TAKEN' or 'PENDING', seq, now, tonumber(signin[4]) - now }
