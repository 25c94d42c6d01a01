define i32 @kernel(ptr %launch, i64 %begin, i64 %end) nounwind "prefer-vector-width"="256" {
entry:
  %v3 = getelementptr i8, ptr %launch, i64 8
  %v4 = load ptr, ptr %v3
  %v5 = getelementptr i64, ptr %v4, i64 0
  %v6 = load i64, ptr %v5
  %v12 = mul i64 4, %v6
  %v13 = mul i64 4, %v6
  %v14 = add i64 %v12, %v13
  %v15 = mul i64 4, %v6
  %v16 = add i64 %v14, %v15
  %v17 = icmp sge i64 %v16, 50331648
  %v19 = getelementptr i8, ptr %launch, i64 0
  %v20 = load ptr, ptr %v19
  %v21 = getelementptr ptr, ptr %v20, i64 2
  %v22 = load i64, ptr %v21
  %v36 = getelementptr ptr, ptr %v20, i64 0
  %v37 = load ptr, ptr %v36
  %v40 = getelementptr ptr, ptr %v20, i64 1
  %v41 = load ptr, ptr %v40
  %v45 = getelementptr ptr, ptr %v20, i64 2
  %v46 = load ptr, ptr %v45
  br label %start
start:
  %v1 = mul i64 %begin, 1024
  %v2 = mul i64 %end, 1024
  %v7 = call i64 @llvm.smin.i64(i64 %v2, i64 %v6)
  %v8 = icmp slt i64 %v1, %v7
  br i1 %v8, label %then9, label %done10
then9:
  br label %walk11
walk11:
  %v18 = mul i64 %v1, 4
  %v23 = add i64 %v22, %v18
  %v24 = and i64 %v23, 63
  %v25 = icmp eq i64 %v24, 0
  %v26 = and i1 %v17, %v25
  %v27 = sub i64 %v7, %v1
  %v28 = and i64 %v27, -32
  %v29 = add i64 %v1, %v28
  br i1 %v26, label %then30, label %done31
then30:
  %v35 = icmp slt i64 %v1, %v29
  br i1 %v35, label %loop32, label %done33
loop32:
  %i34 = phi i64 [%v1, %then30], [%v48, %loop32]
  %v38 = getelementptr float, ptr %v37, i64 %i34
  %v39 = load <32 x float>, ptr %v38, align 4
  %v42 = getelementptr float, ptr %v41, i64 %i34
  %v43 = load <32 x float>, ptr %v42, align 4
  %v44.1 = fadd <32 x float> %v39, %v43
  %v47 = getelementptr float, ptr %v46, i64 %i34
  store <32 x float> %v44.1, ptr %v47, align 64, !nontemporal !0
  %v48 = add i64 %i34, 32
  %v49 = icmp slt i64 %v48, %v29
  br i1 %v49, label %loop32, label %done33
done33:
  br label %done31
done31:
  %v50 = select i1 %v26, i64 %v29, i64 %v1
  %v54 = icmp slt i64 %v50, %v29
  br i1 %v54, label %loop51, label %done52
loop51:
  %i53 = phi i64 [%v50, %done31], [%v61, %loop51]
  %v55 = getelementptr float, ptr %v37, i64 %i53
  %v56 = load <32 x float>, ptr %v55, align 4
  %v57 = getelementptr float, ptr %v41, i64 %i53
  %v58 = load <32 x float>, ptr %v57, align 4
  %v59.1 = fadd <32 x float> %v56, %v58
  %v60 = getelementptr float, ptr %v46, i64 %i53
  store <32 x float> %v59.1, ptr %v60, align 4
  %v61 = add i64 %i53, 32
  %v62 = icmp slt i64 %v61, %v29
  br i1 %v62, label %loop51, label %done52
done52:
  %v63 = icmp slt i64 %v29, %v7
  br i1 %v63, label %then64, label %done65
then64:
  %v66 = sub i64 %v7, %v29
  %v67 = call i64 @llvm.smin.i64(i64 %v66, i64 32)
  %v68 = trunc i64 %v67 to i32
  %v69 = insertelement <32 x i32> poison, i32 %v68, i64 0
  %v70 = shufflevector <32 x i32> %v69, <32 x i32> poison, <32 x i32> zeroinitializer
  %v71 = icmp ult <32 x i32> <i32 0, i32 1, i32 2, i32 3, i32 4, i32 5, i32 6, i32 7, i32 8, i32 9, i32 10, i32 11, i32 12, i32 13, i32 14, i32 15, i32 16, i32 17, i32 18, i32 19, i32 20, i32 21, i32 22, i32 23, i32 24, i32 25, i32 26, i32 27, i32 28, i32 29, i32 30, i32 31>, %v70
  %v72 = getelementptr float, ptr %v37, i64 %v29
  %v73 = call <32 x float> @llvm.masked.load.v32f32.p0(ptr %v72, i32 4, <32 x i1> %v71, <32 x float> zeroinitializer)
  %v74 = getelementptr float, ptr %v41, i64 %v29
  %v75 = call <32 x float> @llvm.masked.load.v32f32.p0(ptr %v74, i32 4, <32 x i1> %v71, <32 x float> zeroinitializer)
  %v76.1 = fadd <32 x float> %v73, %v75
  %v77 = getelementptr float, ptr %v46, i64 %v29
  call void @llvm.masked.store.v32f32.p0(<32 x float> %v76.1, ptr %v77, i32 4, <32 x i1> %v71)
  br label %done65
done65:
  br label %done10
done10:
  br i1 %v17, label %then78, label %done79
then78:
  call void @llvm.x86.sse.sfence()
  br label %done79
done79:
  ret i32 0
}
declare i64 @llvm.smin.i64(i64, i64)
declare <32 x float> @llvm.masked.load.v32f32.p0(ptr, i32, <32 x i1>, <32 x float>)
declare void @llvm.masked.store.v32f32.p0(<32 x float>, ptr, i32, <32 x i1>)
declare void @llvm.x86.sse.sfence()
!0 = !{i32 1}
