#!/usr/bin/env bash
# Where Flink's Kubernetes integration looks for it (kubernetes.entry.path). What comes after the first word goes to Flink.
#
#   standalone-job …   a JobManager that runs the job itself; FLINK_RESTORE names a savepoint to begin from
#   taskmanager …      a TaskManager
#   anything else      is run as it is: `flink list -m localhost:8081`, `kubernetes-jobmanager.sh kubernetes-application`, `bash`
set -euo pipefail

case "${1:-}" in
standalone-job)
    shift
    restore=()
    if [ -n "${FLINK_RESTORE:-}" ]; then
        restore=(--fromSavepoint "$FLINK_RESTORE")
    fi
    exec "$FLINK_HOME/bin/standalone-job.sh" start-foreground "${restore[@]}" "$@"
    ;;
taskmanager)
    shift
    exec "$FLINK_HOME/bin/taskmanager.sh" start-foreground "$@"
    ;;
*)
    exec "$@"
    ;;
esac
