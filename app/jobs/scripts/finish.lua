-- Records how attempts ended, each only where its worker still holds the job.
--
-- KEYS: none.  ARGV: now (ms; '' = the server's), then nine for each job:
--   op, id, token, queue key, other queue key, number, text, memory, tries
-- op 'done'  the job ended: number = result's life (ms), text = result. other = where it first arrived, or ''
--    'fail'  the same, and its payload is kept for a re-run
--    'again' back on its queue: number = due (ms; '' = now), memory and tries are remembered
--    'move'  to its own queue (other), same due time (number). A mark with a negative score stays on the queue
--            where it arrived, so that the Job that its enqueuer holds still finds it
-- Returns 1 for each that was recorded, 0 for each that is another's by now.
local now = tonumber(ARGV[1])
if not now then
  local time = redis.call('TIME')
  now = time[1] * 1000 + math.floor(time[2] / 1000)
end
local reply, dropped = {}, {}
for i = 2, #ARGV, 9 do
  local op, id, token, queue, other = ARGV[i], ARGV[i + 1], ARGV[i + 2], ARGV[i + 3], ARGV[i + 4]
  local number, text, memory, tries = ARGV[i + 5], ARGV[i + 6], ARGV[i + 7], ARGV[i + 8]
  local owner = redis.call('GET', 'arq:in-progress:' .. id)
  local ours = owner == token
  if not owner then
    -- The token expired long after the lease; a score that still ends in a half was claimed by nobody since.
    local score = redis.call('ZSCORE', queue, id)
    ours = score and string.find(score, '.5', 1, true) and true or false
  end
  if not ours then
    reply[#reply + 1] = 0
  else
    reply[#reply + 1] = 1
    dropped[#dropped + 1] = 'arq:in-progress:' .. id
    if op == 'done' or op == 'fail' then
      redis.call('ZREM', queue, id)
      if other ~= '' then
        redis.call('ZREM', other, id)
      end
      redis.call('SET', 'arq:result:' .. id, text, 'PX', number)
      dropped[#dropped + 1] = 'arq:retry:' .. id
      dropped[#dropped + 1] = 'indostar:lost:' .. id
      dropped[#dropped + 1] = 'indostar:memory:' .. id
      if op == 'done' then
        dropped[#dropped + 1] = 'arq:job:' .. id
      else
        redis.call('ZADD', 'indostar:failed', now, id)
      end
    else
      if op == 'move' then
        redis.call('ZADD', queue, '-' .. number, id)
        redis.call('ZADD', other, number, id)
      else
        if number == '' then
          number = string.format('%d', now)
        end
        redis.call('ZADD', queue, number, id)
        redis.call('SET', 'arq:retry:' .. id, tries)
      end
      redis.call('SET', 'indostar:memory:' .. id, memory)
    end
  end
end
if #dropped > 0 then
  redis.call('DEL', unpack(dropped))
end
return reply
