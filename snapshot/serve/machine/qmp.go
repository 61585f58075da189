package machine

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"sync"
	"time"
)

// A qmp talks to QEMU in its machine protocol: one JSON object a line. It is safe for concurrent use.
type qmp struct {
	mu   sync.Mutex // held while a command is under way
	conn net.Conn
	in   *bufio.Reader
}

// answerWithin is how long QEMU may take to answer.
const answerWithin = 10 * time.Second

// maxAnswer bounds an answer, in bytes.
const maxAnswer = 1 << 20

func newQMP(conn net.Conn) (*qmp, error) {
	q := &qmp{conn: conn, in: bufio.NewReaderSize(conn, 4096)}
	_ = conn.SetDeadline(time.Now().Add(answerWithin))
	if _, err := q.line(); err != nil { // the greeting
		return nil, errors.Join(err, conn.Close())
	}
	if err := q.run("qmp_capabilities", nil, nil); err != nil {
		return nil, errors.Join(err, conn.Close())
	}
	return q, nil
}

// run runs a command and decodes its answer into result, which may be nil.
func (q *qmp) run(command string, arguments, result any) error {
	q.mu.Lock()
	defer q.mu.Unlock()
	_ = q.conn.SetDeadline(time.Now().Add(answerWithin))
	say := map[string]any{"execute": command}
	if arguments != nil {
		say["arguments"] = arguments
	}
	if err := json.NewEncoder(q.conn).Encode(say); err != nil {
		return fmt.Errorf("%s: %w", command, err)
	}
	for {
		line, err := q.line()
		if err != nil {
			return fmt.Errorf("%s: %w", command, err)
		}
		var answer struct {
			Return json.RawMessage
			Error  *struct{ Desc string }
		}
		switch err := json.Unmarshal(line, &answer); {
		case err != nil:
			return fmt.Errorf("%s: %w", command, err)
		case answer.Error != nil:
			return fmt.Errorf("%s: %s", command, answer.Error.Desc)
		case answer.Return == nil: // an event
			continue
		case result == nil:
			return nil
		}
		return json.Unmarshal(answer.Return, result)
	}
}

// line reads one line of bounded length.
func (q *qmp) line() (line []byte, err error) {
	for {
		part, more, err := q.in.ReadLine()
		if err != nil {
			return nil, err
		}
		if line = append(line, part...); !more {
			return line, nil
		}
		if len(line) > maxAnswer {
			return nil, errors.New("an answer that is too long")
		}
	}
}

func (q *qmp) close() { q.conn.Close() }
