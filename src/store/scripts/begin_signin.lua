-- script: begin_signin
-- purpose: remembers a sign-in that its owner completes in a browser. At most 20 wait at a time: the oldest gives way;
--    so does the oldest of more than 100 results
-- KEYS[1] meta: sequence
-- KEYS[2] signins: sign-ins by state
-- ARGV[1] state: names it; random
-- ARGV[2] life_ms: how long it waits
-- ARGV[3] verifier: sealed
-- ARGV[4] redirect: the address Google sends the browser back to
-- ARGV[5] expected: the e-mail it must be of, lower-cased; empty is any
-- ARGV[6] now: ms since the epoch, empty for the store's own time
-- reply: {OK, seq, now, sign-ins that gave way}
-- complexity: O(sign-ins, at most 121)
-- durability: fsync
local now = clock(ARGV[6])
local waiting, ended = {}, {}
local all = redis.call('HGETALL', KEYS[2])
for i = 1, #all, 2 do
  local signin = split(all[i + 1])
  if signin[1] ~= '1' then
    -- Another version's; it ends with the key.
  elseif tonumber(signin[4]) <= now then
    redis.call('HDEL', KEYS[2], all[i])
  elseif signin[2] == 'completed' or signin[2] == 'failed' then
    ended[#ended + 1] = { at = tonumber(signin[3]), state = all[i] }
  elseif not is_taken(signin, now) then
    waiting[#waiting + 1] = { at = tonumber(signin[3]), state = all[i] }
  end
end
local function older(a, b)
  if a.at ~= b.at then return a.at < b.at end
  return a.state < b.state
end
local function keep(rows, most)
  table.sort(rows, older)
  for i = 1, #rows - most do redis.call('HDEL', KEYS[2], rows[i].state) end
  return math.max(0, #rows - most)
end
local gave_way = keep(waiting, 19)
keep(ended, 100)
local seq = redis.call('HINCRBY', KEYS[1], 'seq', 1)
write_signin(KEYS[2], ARGV[1],
  { '1', 'pending', now, now + tonumber(ARGV[2]), ARGV[3], ARGV[4], ARGV[5], '', 0, '', '' })
return { 'OK', seq, now, gave_way }
