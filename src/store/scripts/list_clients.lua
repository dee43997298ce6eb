-- script: list_clients
-- purpose: all client keys by id, revoked ones too, unless the caller has that generation already
-- KEYS[1] meta: sequence and generations
-- KEYS[2] keys: client key records
-- KEYS[3] keyuse: when each was used last
-- ARGV[1] generation: that the caller has; empty asks for all
-- ARGV[2] now: ms since the epoch, empty for the store's own time
-- reply: {OK, seq, now, generation, then per key 10 values: id, name, digest, made at (ms), expires at (ms, empty),
--    models (space between), revoked at (ms, empty), digest before (empty), good until (ms, empty), last use (ms,
--    empty)} | {SAME, seq, now, generation}
-- complexity: O(client keys * log client keys)
-- durability: periodic
local now = clock(ARGV[2])
local row = redis.call('HMGET', KEYS[1], 'seq', 'gen:keys')
local seq, generation = tonumber(row[1] or 0), tonumber(row[2] or 0)
if tonumber(ARGV[1]) == generation then return { 'SAME', seq, now, generation } end
local records, ids, clients, used = redis.call('HGETALL', KEYS[2]), {}, {}, {}
for i = 1, #records, 2 do
  local fields = read_client(records[i + 1])
  if fields then
    ids[#ids + 1] = records[i]
    clients[records[i]] = fields
  end
end
table.sort(ids)
local uses = redis.call('HGETALL', KEYS[3])
for i = 1, #uses, 2 do used[uses[i]] = uses[i + 1] end
local reply = { 'OK', seq, now, generation }
for _, id in ipairs(ids) do
  reply[#reply + 1] = id
  for i = 2, 9 do reply[#reply + 1] = clients[id][i] end
  reply[#reply + 1] = used[id] or ''
end
return reply
