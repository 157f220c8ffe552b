"""Jobs in processes of their own."""

import subprocess
import sys


def test_a_plain_script_may_start_jobs(tmp_path):
    """Without `if __name__ == "__main__"`, which processes that ran the script again would need."""
    script = tmp_path / "script.py"
    script.write_text(
        "from neuroframes.evaluation.jobs import run_here\n"
        "print('begin', flush=True)\n"
        "failed = run_here(int, ['1', '2', 'three'], workers=2, progress=False)\n"
        "print(failed, __file__)\n"
    )
    run = subprocess.run([sys.executable, script], capture_output=True, text=True, timeout=60)
    assert run.returncode == 0, run.stderr
    first, second = run.stdout.splitlines()
    assert first == "begin" and "three: invalid literal" in second and second.endswith(str(script))
