-- Keeps what running jobs say of how far they are.
--
-- KEYS: claims, progress, events.  ARGV: most events kept, then id, token, text for each job. One that ended meanwhile
-- is passed over: its end has removed what it said.
local kept, event = {}, {'kind', 'progress'}
for i = 2, #ARGV, 3 do
  if redis.call('HGET', KEYS[1], ARGV[i]) == ARGV[i + 1] then
    kept[#kept + 1] = ARGV[i]
    kept[#kept + 1] = ARGV[i + 2]
    event[#event + 1] = 'job:' .. ARGV[i]
    event[#event + 1] = ARGV[i + 2]
  end
end
if #kept > 0 then
  redis.call('HSET', KEYS[2], unpack(kept))
  redis.call('XADD', KEYS[3], 'MAXLEN', '~', ARGV[1], '*', unpack(event))
end
return #kept / 2
