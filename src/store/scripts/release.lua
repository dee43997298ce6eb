-- script: release
-- purpose: takes an attempt back whose admission nobody uses: its lease goes, its bucket token and its probe are
--    free again; one that was not admitted yet never will be. Asked again it changes nothing
-- KEYS[1] meta: sequence
-- KEYS[2] cfg: shared settings
-- KEYS[3] hot: selection records
-- KEYS[4] leases: live leases
-- KEYS[5] req: this attempt's record
-- KEYS[6] probe: who probes the limited model
-- ARGV[1] lease: id of the attempt
-- ARGV[2] base: settings below the shared ones
-- ARGV[3] pinned: settings above them
-- ARGV[4] channel: of events
-- ARGV[5] now: ms since the epoch, empty for the store's own time
-- reply: {RELEASED, seq, now, id of the account} | {BARRED, seq, now} when there was no admission | {ENDED, seq, now}
--    when it was settled or released before
-- complexity: O(log live leases + settings)
-- durability: periodic
local now = clock(ARGV[5])
local recorded = redis.call('GET', KEYS[5])
local d = recorded and split(recorded) or { '', '' }
if d[1] == 'done' then return { 'ENDED', tonumber(redis.call('HGET', KEYS[1], 'seq') or 0), now } end

local seq = redis.call('HINCRBY', KEYS[1], 'seq', 1)
local id, known = d[2], 'GONE'
if recorded then
  local live = redis.call('ZREM', KEYS[4], id .. '/' .. ARGV[1]) == 1
  local text = redis.call('HGET', KEYS[3], id)
  if is_hot(text) then
    local a = read_hot(text)
    known = 'OK'
    local s = load_settings(KEYS[2], ARGV[2], ARGV[3])
    if live then
      if makes_room(a, s) then redis.call('PUBLISH', ARGV[4], 'freed ' .. id .. ' ' .. seq) end
      a.n = math.max(0, a.n - 1)
    end
    if d[8] == '1' then refund_token(a, now, s) end
    write_hot(KEYS[3], id, a)
  end
  if d[4] == 'PROBE' and lock_state(KEYS[6], now) == ARGV[1] then redis.call('DEL', KEYS[6]) end
end
-- As settlement leaves it: a late admission is refused, a late settlement changes nothing.
redis.call('SET', KEYS[5], table.concat({ 'done', id, known, seq, now, 0, 0, 0, 0 }, '\31'), 'PX', 900000)
if recorded then return { 'RELEASED', seq, now, id } end
return { 'BARRED', seq, now }
