-- script: touch_clients
-- purpose: remembers when client keys were used last, to the minute; the latest use counts
-- KEYS[1] meta: sequence
-- KEYS[2] keys: client key records
-- KEYS[3] keyuse: when each was used last
-- ARGV[1..] use: id of a client key and age of its last use in ms, by turns
-- ARGV[#] now: ms since the epoch, empty for the store's own time
-- reply: {OK, seq, now, client keys whose last use is another one now}
-- complexity: O(client keys given)
-- durability: periodic
local now = clock(ARGV[#ARGV])
local touched = 0
for i = 1, #ARGV - 2, 2 do
  local id = ARGV[i]
  local at = now - tonumber(ARGV[i + 1])
  at = at - at % 60000
  local last = redis.call('HGET', KEYS[3], id)
  -- One that is forgotten stays so.
  if redis.call('HGET', KEYS[2], id) and (not last or at > tonumber(last)) then
    redis.call('HSET', KEYS[3], id, exact(at))
    touched = touched + 1
  end
end
return { 'OK', redis.call('HINCRBY', KEYS[1], 'seq', 1), now, touched }
