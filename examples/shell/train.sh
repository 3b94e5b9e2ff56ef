#!/bin/sh
# One attempt of a trial without the SDK: the whole contract of a trainer in another language, by curl and jq.
# It fits a line to eight points by gradient descent. It keeps no checkpoints, so an attempt that was interrupted is
# followed by one that starts from scratch.
set -eu

work=$(mktemp -d)
printf %s "$TUNE_CA" > "$work/ca.pem"
: > "$work/results"        # results that the operator has not called durable yet, one a line
interrupted=
trap 'interrupted=SIGTERM' TERM
trap 'interrupted=SIGINT' INT

say() { echo "train.sh: $*" >&2; }

# post PATH: sends the JSON of standard input, once. Prints the answer, or returns 1 while there is none to be had;
# exits with 75 when this attempt was replaced, which costs the trial nothing.
post() {
    status=$(curl --silent --max-time 10 --cacert "$work/ca.pem" --output "$work/answer" --write-out '%{http_code}' \
        --header "Authorization: Bearer $(cat "$TUNE_TOKEN_FILE")" --data @- "$TUNE_SESSION_URL$1") || status=000
    case $status in
        200) cat "$work/answer" ;;
        401) say "this attempt was replaced: $(cat "$work/answer")"; exit 75 ;;
        000 | 409 | 429 | 5*) return 1 ;;       # away, not ready, or this Pod is not bound yet: ask again
        *) say "$1 is refused with $status: $(cat "$work/answer")"; exit 2 ;;
    esac
}

# insist PATH: the same until there is an answer.
insist() {
    cat > "$work/request"
    until post "$1" < "$work/request"; do sleep 1; done
}

# finish OUTCOME REASON [DIRECTIVE]: the operator writes the exit record, which is what makes an end a success.
finish() {
    jq --null-input --slurpfile results "$work/results" --argjson attempt "$TUNE_ATTEMPT" --arg trial "$TUNE_TRIAL" \
        --argjson iteration "$iteration" --arg outcome "$1" --arg reason "$2" --arg directive "${3:-}" \
        --arg signal "$interrupted" --argjson last "${result:-null}" '{version: 1, $attempt, exit: {version: 1, $trial,
            $attempt, $outcome, $reason, $iteration, $signal, $directive, lastResult: $last,
            results: $results[-500:]}}' |
        insist /v1/complete > "$work/completed"
    say "$1: $2"
    exit 0
}

# Every attempt starts with a session: the configuration, and which criteria end the trial.
jq --null-input --argjson attempt "$TUNE_ATTEMPT" --arg trial "$TUNE_TRIAL" '{version: 1, $attempt, $trial}' |
    insist /v1/session > "$work/session"
say "trial $TUNE_TRIAL, attempt $TUNE_ATTEMPT: $(jq --compact-output .config "$work/session")"

state="0 0"
iteration=0
while :; do
    [ -z "$interrupted" ] || finish Interrupted Interrupted
    iteration=$((iteration + 1))
    state=$(awk -v state="$state" -v lr="$TUNE_PARAM_LR" 'BEGIN {
        split(state, weights, " "); a = weights[1]; b = weights[2]
        for (i = 1; i <= 8; i++) {
            x = i / 8; error = a * x + b - (3 * x - 1)
            da += error * x / 4; db += error / 4; loss += error ^ 2 / 8
        }
        printf "%.9f %.9f %.9f", a - lr * da, b - lr * db, loss
    }')
    sleep "$TUNE_PARAM_STEP_SECONDS"
    # The sequence counts the results of this attempt from 1; here there is one for each iteration.
    result=$(jq --null-input --compact-output --argjson n "$iteration" --argjson loss "${state##* }" \
        '{seq: $n, metrics: {training_iteration: $n, $loss, fit: (1 - $loss)}}')
    echo "$result" >> "$work/results"

    # What is not durable is sent each time, since an operator that restarted may have lost it; not all at once, for a
    # body has at most 256 KiB. Nobody waits for an operator that is away.
    directive='{"type": "Continue"}'
    answered=0
    jq --slurp --argjson attempt "$TUNE_ATTEMPT" '.[:500] | {version: 1, $attempt, seq: .[-1].seq, results: .}' \
        "$work/results" | post /v1/results > "$work/taken" || answered=$?
    case $answered in
        0)
            directive=$(jq --compact-output .directive "$work/taken")
            jq --compact-output --argjson durable "$(jq .durable "$work/taken")" 'select(.seq > $durable)' \
                "$work/results" > "$work/kept"
            mv "$work/kept" "$work/results"
            ;;
        1) ;;
        *) exit "$answered" ;;
    esac

    # A criterion is reached at its bound or above. Of the directives only Stop concerns who cannot save.
    reached=$(jq --raw-output --argjson result "$result" '.stop.criteria | to_entries[]
        | select($result.metrics[.key] != null and $result.metrics[.key] >= .value) | .key' "$work/session")
    [ -z "$reached" ] || finish Completed StoppedByCriteria
    if [ "$(echo "$directive" | jq --raw-output .type)" = Stop ]; then
        finish Stopped StoppedByDirective "$(echo "$directive" | jq --raw-output .id)"
    fi
done
