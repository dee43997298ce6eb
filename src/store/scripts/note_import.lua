-- script: note_import
-- purpose: tells whether a document of accounts was imported into the pool, and remembers that it was
-- KEYS[1] meta: sequence
-- KEYS[2] imports: digest of a document → when it was imported
-- ARGV[1] digest: of the document
-- ARGV[2] done: 1 to remember it, 0 to ask only
-- ARGV[3] now: ms since the epoch, empty for the store's own time
-- reply: {OK|KNOWN|NEW, seq, now}
-- complexity: O(1)
-- durability: fsync
local now = clock(ARGV[3])
local known = redis.call('HGET', KEYS[2], ARGV[1])
if known or ARGV[2] ~= '1' then
  return { known and 'KNOWN' or 'NEW', tonumber(redis.call('HGET', KEYS[1], 'seq') or 0), now }
end
local seq = redis.call('HINCRBY', KEYS[1], 'seq', 1)
redis.call('HSET', KEYS[2], ARGV[1], now)
return { 'OK', seq, now }
