-- Gives back the jobs of claims whose answers never reached the worker: due now, and no worker was lost.
--
-- KEYS: queue, claims, events.  ARGV: now (ms; '' = the server's), most events kept, tokens (without their epochs).
-- Returns how many.
local now = clock(ARGV[1])
local tokens = {}
for i = 3, #ARGV do
  tokens[ARGV[i]] = true
end
local released = 0
local due = string.format('%d', now)
local event = {'kind', 'released', 'at', due}
local claims = redis.call('HGETALL', KEYS[2])
for i = 1, #claims, 2 do
  local id, token = claims[i], claims[i + 1]
  if tokens[string.match(token, ' (.*)$')] and redis.call('ZSCORE', KEYS[1], id) then
    redis.call('ZADD', KEYS[1], due, id)
    redis.call('HDEL', KEYS[2], id)
    redis.call('DEL', 'arq:in-progress:' .. id)
    released = released + 1
    event[#event + 1] = 'job:' .. id
    event[#event + 1] = due
  end
end
if released > 0 then
  redis.call('XADD', KEYS[3], 'MAXLEN', '~', ARGV[2], '*', unpack(event))
end
return released
