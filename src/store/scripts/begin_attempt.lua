-- script: begin_attempt
-- purpose: lets a peer try a credential at the console's door, if it has not tried too many others of late. The try
--    counts from here on, so that many at a time are no more than one after the other; end_attempt takes a right one back
-- KEYS[1] meta: sequence and generations
-- KEYS[2] console: password
-- KEYS[3] tries: of this peer
-- ARGV[1] generation: of the console that the caller knows; empty for none
-- ARGV[2] mark: of the credential
-- ARGV[3] right: 1 if the caller knows that it is right for that generation; then nothing counts
-- ARGV[4] most: different wrong ones within the window
-- ARGV[5] window_ms: that window
-- ARGV[6] now: ms since the epoch, empty for the store's own time
-- reply: {GO|WRONG, seq, now, generation, 1 if it is not the known one, then password hash (empty for none)}, WRONG for what
--    is known to be | {BLOCKED, seq, now, generation, 0 or 1, password hash, ms until the next try}
-- complexity: O(tries of the peer, at most 5 a minute for an hour)
-- durability: periodic
local now = clock(ARGV[6])
local seq, generation, news, hash = console_state(KEYS[1], KEYS[2], ARGV[1])
local most, window = tonumber(ARGV[4]), tonumber(ARGV[5])
local tries = read_tries(KEYS[3], now)
local count, first = counting(tries, window, now)
local own = tries[ARGV[2]]
local counts = own and elapsed(now, tonumber(own[2])) < window
-- What is being tried at this moment may be tried by others as well.
local others = counts and own[1] == 'p' and count - 1 or count
if others >= most then
  return { 'BLOCKED', seq, now, generation, news, hash, first + window - now }
end
if ARGV[3] == '1' and news == 0 then return { 'GO', seq, now, generation, news, hash } end
local known = own and own[1] == 'w' and tonumber(own[4]) == generation
  and elapsed(now, tonumber(own[3])) < TRIES_KEPT
if not counts then
  write_try(KEYS[3], ARGV[2], { known and 'w' or 'p', exact(now), own and own[3] or '0', own and own[4] or '0' })
end
return { known and 'WRONG' or 'GO', seq, now, generation, news, hash }
