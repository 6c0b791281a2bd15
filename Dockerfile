# `pipeline` with what training and Label Studio's backend need; as its own user, not as root.
FROM python:3.11.13-slim-bookworm

RUN useradd --create-home --uid 10001 maskloop && install --directory --owner maskloop /app/runs
WORKDIR /app

COPY pyproject.toml constraints.txt README.md LICENSE ./
COPY pipeline pipeline
COPY connectors connectors
# Ultralytics asks for OpenCV with windows, which needs a screen's libraries: the one without takes its place.
RUN pip install --no-cache-dir --constraint constraints.txt '.[ultralytics,label-studio]' \
 && pip uninstall --yes opencv-python \
 && pip install --no-cache-dir --constraint constraints.txt --force-reinstall --no-deps opencv-python-headless

COPY configs configs
USER maskloop
ENV OMP_NUM_THREADS=2 PYTHONUNBUFFERED=1
EXPOSE 9090
ENTRYPOINT ["pipeline"]
CMD ["--help"]
