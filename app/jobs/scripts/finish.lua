-- Records how attempts ended, each only where its worker still holds the job.
--
-- KEYS: claims, lost, progress, failed, epoch, events, aborts, ended, then every queue.
-- ARGV: now (ms; '' = the server's), most events kept, then nine for each job: op, id, token, queue key, other queue key, number, text, tries, payload
-- op 'done'  the job ended: number = result's life (ms), text = result. other = where it first arrived, or ''
--    'fail'  the same, and its result and payload are kept for a re-run
--    'again' back on its queue: number = wait (ms), text = memory, and tries are remembered
--    'keep'  back on its queue as if nothing had been: number = due (ms), text and tries likewise
--    'move'  to its own queue (other), same due time (number), text = memory. A mark with a negative score stays on
--            the queue where it arrived, so that the Job that its enqueuer holds still finds it
--    'wait' for a limit (other = its name) until pace.lua gives it a turn: number = its place in the line (ms). What it
--            remembers is as it was. Only for the case that nobody paces that limit any more is it due after an hour
-- payload is '' but for a job that Redis forgot while it ran (FLUSHALL) and that is to run again.
-- Returns 1 for each that was recorded, now or by a call whose answer was lost; 0 for each that is another's by now
-- or has ended; 2 for one that Redis forgot and that has to be sent again with its payload.
local now = clock(ARGV[1])
local ids = {}
for i = 3, #ARGV, 9 do
  ids[#ids + 1] = ARGV[i + 1]
end
local holders = redis.call('HMGET', KEYS[1], unpack(ids))
local epoch = redis.call('GET', KEYS[5])
local reply, ended, dropped, gone = {}, {}, {}, {}
-- As in claim.lua, for a server that is out of memory.
redis.call('HDEL', KEYS[1], '')
local event = {'kind', 'ended', 'at', string.format('%d', now)}
for n, id in ipairs(ids) do
  local at = 9 * n - 6
  local op, token, queue, other = ARGV[at], ARGV[at + 2], ARGV[at + 3], ARGV[at + 4]
  local number, text, tries, payload = ARGV[at + 5], ARGV[at + 6], ARGV[at + 7], ARGV[at + 8]
  local is_over = op == 'done' or op == 'fail'
  local ours = holders[n] == token
  reply[n] = ours and 1 or 0
  if not ours and redis.call('GET', (is_over and 'arq:result:' or 'indostar:memory:') .. id) == text then
    reply[n] = 1
  -- A token begins with the epoch of its claim.
  elseif not ours and not holders[n] and epoch ~= string.match(token, '^%S+') then
    -- Nobody else has it. An end counts even where the job was enqueued anew; what is to run again does not run
    -- beside that one. What failed, or runs again, needs its payload.
    local is_anew = redis.call('EXISTS', 'arq:job:' .. id) == 1
    local has_ended = redis.call('EXISTS', 'arq:result:' .. id) == 1
    if not has_ended and not is_anew and op ~= 'done' and payload == '' then
      reply[n] = 2
    elseif not has_ended and (is_over or not is_anew) then
      ours, reply[n] = true, 1
      if is_anew then
        for key = 9, #KEYS do
          redis.call('ZREM', KEYS[key], id)
        end
        -- A stock pool lets it expire, and what failed needs it.
        redis.call('PERSIST', 'arq:job:' .. id)
      elseif op ~= 'done' then
        redis.call('SET', 'arq:job:' .. id, payload)
      end
    end
  end
  if ours then
    gone[#gone + 1] = id
    dropped[#dropped + 1] = 'arq:in-progress:' .. id
    event[#event + 1] = 'job:' .. id
    if is_over then
      redis.call('ZREM', queue, id)
      if other ~= '' then
        redis.call('ZREM', other, id)
      end
      if op == 'done' then
        redis.call('SET', 'arq:result:' .. id, text, 'PX', number)
      else
        -- As long as its payload, so that it can be seen why it failed.
        redis.call('SET', 'arq:result:' .. id, text)
      end
      ended[#ended + 1] = id
      dropped[#dropped + 1] = 'arq:retry:' .. id
      dropped[#dropped + 1] = 'indostar:memory:' .. id
      if op == 'done' then
        dropped[#dropped + 1] = 'arq:job:' .. id
        if string.sub(id, 1, 7) == 'outbox:' then
          -- Until it is on record in the outbox that this one is over. Of one that failed the result stays instead.
          redis.call('SADD', KEYS[8], id)
        end
      else
        redis.call('ZADD', KEYS[4], now, id)
      end
      event[#event + 1] = op .. ' ' .. text
    else
      if op == 'again' then
        number = string.format('%d', now + tonumber(number))
      end
      if op == 'move' then
        -- Whoever defers to 1970 gives the score 0, of which there is no negative.
        number = string.format('%d', math.max(1, tonumber(number)))
        redis.call('ZADD', queue, '-' .. number, id)
        redis.call('ZADD', other, number, id)
      elseif op == 'wait' then
        redis.call('ZADD', queue, string.format('%d.25', now + 3600000), id)
        redis.call('ZADD', 'indostar:limit:' .. other .. ':waiting:' .. queue, number, id)
        redis.call('SADD', 'indostar:limits', other)
      else
        redis.call('ZADD', queue, number, id)
        if op == 'keep' then
          -- The wish to abort it was meant for an earlier job of the same id.
          redis.call('ZREM', KEYS[7], id)
        end
      end
      if op ~= 'wait' or payload ~= '' then
        if op ~= 'move' then
          redis.call('SET', 'arq:retry:' .. id, tries)
        end
        redis.call('SET', 'indostar:memory:' .. id, text)
      end
      event[#event + 1] = op .. ' ' .. number .. ' ' .. tries .. ' ' .. (op == 'wait' and other or text)
    end
  end
end
if #gone > 0 then
  redis.call('HDEL', KEYS[1], unpack(gone))
  redis.call('HDEL', KEYS[3], unpack(gone))
  redis.call('DEL', unpack(dropped))
  redis.call('XADD', KEYS[6], 'MAXLEN', '~', ARGV[2], '*', unpack(event))
end
if #ended > 0 then
  redis.call('HDEL', KEYS[2], unpack(ended))
  if redis.call('EXISTS', KEYS[7]) == 1 then
    redis.call('ZREM', KEYS[7], unpack(ended))
  end
end
return reply
