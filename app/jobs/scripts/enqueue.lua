-- Puts jobs on their queues, each unless its id is taken.
--
-- KEYS: events, ended.  ARGV: now (ms; '' = the server's), most events kept, then for each job: id, payload, due (ms;
-- '' = now; '+n' = n ms from now), queue key.
-- Returns for each 1, 0 where the id is taken, or 2 where it is taken by this very payload: an answer was lost, and
-- the enqueuer asked again.
local now = clock(ARGV[1])
local reply = {}
-- Their results may have expired, but it is not on record yet that they ended.
local some_ended = redis.call('EXISTS', KEYS[2]) == 1
local event = {'kind', 'enqueued', 'at', string.format('%d', now)}
for i = 3, #ARGV, 4 do
  local id, payload, due, queue = ARGV[i], ARGV[i + 1], ARGV[i + 2], ARGV[i + 3]
  if due == '' then
    due = string.format('%d', now)
  elseif string.sub(due, 1, 1) == '+' then
    due = string.format('%d', now + tonumber(due))
  end
  if redis.call('EXISTS', 'arq:result:' .. id) == 1 or (some_ended and redis.call('SISMEMBER', KEYS[2], id) == 1) then
    reply[#reply + 1] = 0
  elseif redis.call('SET', 'arq:job:' .. id, payload, 'NX') then
    redis.call('ZADD', queue, due, id)
    reply[#reply + 1] = 1
    event[#event + 1] = 'job:' .. id
    event[#event + 1] = due .. ' ' .. queue .. ' ' .. payload
  else
    reply[#reply + 1] = redis.call('GET', 'arq:job:' .. id) == payload and 2 or 0
  end
end
if #event > 4 then
  redis.call('XADD', KEYS[1], 'MAXLEN', '~', ARGV[2], '*', unpack(event))
end
return reply
