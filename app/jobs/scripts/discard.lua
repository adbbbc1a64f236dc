-- Ends one job that waits, as if it had been aborted, unless a worker holds it or it has changed since it was read.
--
-- KEYS: claims, lost, progress, events, aborts, ended, then every queue.
-- ARGV: id, now (ms; '' = the server's), most events kept, payload, tries and memory as they were read ('' = none),
-- result's life (ms), result.
-- Returns 1 where it was ended, 0 where it has to be read again.
local id = ARGV[1]
local kept = redis.call('MGET', 'arq:job:' .. id, 'arq:retry:' .. id, 'indostar:memory:' .. id)
for n = 1, 3 do
  if (kept[n] or '') ~= ARGV[n + 3] then
    return 0
  end
end
if redis.call('EXISTS', 'arq:result:' .. id) == 1 or redis.call('HEXISTS', KEYS[1], id) == 1 then
  return 0
end
local waits = kept[1]
-- First what makes room: a server that is out of memory refuses a script's first write where it adds something.
for key = 7, #KEYS do
  waits = redis.call('ZREM', KEYS[key], id) == 1 or waits
end
if not waits then
  return 0
end
redis.call('DEL', 'arq:job:' .. id, 'arq:retry:' .. id, 'indostar:memory:' .. id)
redis.call('HDEL', KEYS[2], id)
redis.call('HDEL', KEYS[3], id)
redis.call('ZREM', KEYS[5], id)
redis.call('SET', 'arq:result:' .. id, ARGV[8], 'PX', ARGV[7])
if string.sub(id, 1, 7) == 'outbox:' then
  -- As in finish.lua: until the outbox has it that this one is over.
  redis.call('SADD', KEYS[6], id)
end
redis.call('XADD', KEYS[4], 'MAXLEN', '~', ARGV[3], '*', 'kind', 'ended', 'at',
  string.format('%d', clock(ARGV[2])), 'job:' .. id, 'done ' .. ARGV[8])
return 1
